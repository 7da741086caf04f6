"""What the files of an evaluation are called."""

# Of one bag.
METRICS, FRAMES, TIMINGS, REPORT = "metrics.json", "frames.csv", "timings.json", "report.html"
# Of several, beside a folder for each.
INDEX, SUMMARY, TABLE, PLAN = "index.html", "summary.json", "summary.csv", "plan.json"
