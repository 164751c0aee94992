"""Results of an evaluation as figures, a table, plots and a page."""

from outfits.report.gallery import Completion, GalleryOutfit, gallery_outfits
from outfits.report.page import ReportPaths, write_report
from outfits.report.records import MethodRecord
from outfits.report.results import EvaluationResult, MethodResult, read_results, summarise, write_results
from outfits.report.table import results_table

__all__ = [
    "Completion",
    "EvaluationResult",
    "GalleryOutfit",
    "MethodRecord",
    "MethodResult",
    "ReportPaths",
    "gallery_outfits",
    "read_results",
    "results_table",
    "summarise",
    "write_report",
    "write_results",
]
