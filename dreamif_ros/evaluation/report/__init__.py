"""The report of one bag's evaluation: a single HTML file, readable offline.

``words`` has the sentences, ``timelines`` and ``charts`` the charts, ``tables`` the tables,
and ``page`` puts all into ``report.html`` with its style and script.
"""

from dreamif_ros.evaluation.report.page import check_libraries, write_report

__all__ = ["check_libraries", "write_report"]
