"""What tests of several folders share; test modules import from here only."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the repository
