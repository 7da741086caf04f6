"""The report of one bag's evaluation: a single HTML file, readable offline.

:mod:`~dreamif_ros.report.words` says it in sentences, :mod:`~dreamif_ros.report.timelines` and
:mod:`~dreamif_ros.report.charts` describe the charts, :mod:`~dreamif_ros.report.tables` the tables,
and :mod:`~dreamif_ros.report.page` puts all into ``report.html`` with its style and script.
"""

from dreamif_ros.report.page import check_libraries, write_report

__all__ = ["check_libraries", "write_report"]
