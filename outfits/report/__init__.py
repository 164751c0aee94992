"""Results of an evaluation as figures, a table, plots and a page."""

from outfits.report.files import read_results, write_results
from outfits.report.gallery import Completion, GalleryOutfit, gallery_outfits
from outfits.report.method import MethodResult
from outfits.report.page import ReportPaths, write_report
from outfits.report.records import MethodRecord
from outfits.report.results import EvaluationResult, summarise
from outfits.report.sweeps import SweepPoint, sweep_point
from outfits.report.table import results_table
from outfits.report.wishes import WishResult, summarise_wishes

__all__ = [
    "Completion",
    "EvaluationResult",
    "GalleryOutfit",
    "MethodRecord",
    "MethodResult",
    "ReportPaths",
    "SweepPoint",
    "WishResult",
    "gallery_outfits",
    "read_results",
    "results_table",
    "summarise",
    "summarise_wishes",
    "sweep_point",
    "write_report",
    "write_results",
]
