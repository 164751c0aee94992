"""Results of an evaluation as metrics, a table, plots and a page."""

from outfits.report.comparison.conditions import ConditionResult, summarise_conditions
from outfits.report.comparison.files import read_results, write_results
from outfits.report.comparison.gallery import Completion, GalleryOutfit, gallery_outfits
from outfits.report.comparison.method import MethodResult
from outfits.report.comparison.page import ReportPaths, write_report
from outfits.report.comparison.records import MethodRecord
from outfits.report.comparison.results import EvaluationResult, summarise
from outfits.report.comparison.sweeps import SweepPoint, sweep_point
from outfits.report.comparison.table import results_table

__all__ = [
    "Completion",
    "EvaluationResult",
    "GalleryOutfit",
    "MethodRecord",
    "MethodResult",
    "ReportPaths",
    "SweepPoint",
    "ConditionResult",
    "gallery_outfits",
    "read_results",
    "results_table",
    "summarise",
    "summarise_conditions",
    "sweep_point",
    "write_report",
    "write_results",
]
