"""Countries: share of honest customers, time zone, languages spoken to the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Country:
    """A market; shares are of our own making, of the order a global service reports."""

    code: str
    share: float
    hours_from_utc: int
    languages: tuple[str, ...]
    weights: tuple[float, ...]


COUNTRIES: Final = (
    Country("US", 0.27, -6, ("en", "es", "zh"), (0.93, 0.05, 0.02)),
    Country("IN", 0.14, 5, ("en", "hi"), (0.78, 0.22)),
    Country("GB", 0.07, 0, ("en",), (1.0,)),
    Country("DE", 0.07, 1, ("de", "en"), (0.7, 0.3)),
    Country("FR", 0.05, 1, ("fr", "en"), (0.8, 0.2)),
    Country("JP", 0.07, 9, ("ja", "en"), (0.9, 0.1)),
    Country("KR", 0.05, 9, ("ko", "en"), (0.88, 0.12)),
    Country("BR", 0.06, -3, ("pt", "en"), (0.9, 0.1)),
    Country("MX", 0.03, -6, ("es", "en"), (0.9, 0.1)),
    Country("ES", 0.03, 1, ("es", "en"), (0.85, 0.15)),
    Country("CA", 0.03, -5, ("en", "fr", "zh"), (0.8, 0.17, 0.03)),
    Country("AU", 0.03, 10, ("en", "zh"), (0.96, 0.04)),
    Country("SG", 0.03, 8, ("en", "zh"), (0.7, 0.3)),
    Country("TW", 0.03, 8, ("zh", "en"), (0.9, 0.1)),
    Country("ID", 0.02, 7, ("id", "en"), (0.8, 0.2)),
    Country("NG", 0.02, 1, ("en",), (1.0,)),
)
BY_CODE: Final = {country.code: country for country in COUNTRIES}
LANGUAGES: Final = ("en", "zh", "es", "de", "hi", "ja", "ko", "fr", "pt", "id", "ru", "ar")
