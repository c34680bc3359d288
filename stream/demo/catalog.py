"""What the demo's shop sells, to whom, and what its visitors browse with."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

#: Category -> (prefix of its product ids, share of the interest, lowest and highest price, things sold).
CATEGORIES: dict[str, tuple[str, float, float, float, tuple[str, ...]]] = {
    "Electronics": ("EL", 0.24, 15, 900, ("headphones", "phone", "tablet", "speaker", "camera", "charger")),
    "Computers": ("CO", 0.10, 20, 1500, ("laptop", "monitor", "keyboard", "mouse", "router", "SSD")),
    "Home": ("HO", 0.14, 8, 250, ("lamp", "rug", "vase", "curtain", "clock", "mirror")),
    "Kitchen": ("KI", 0.12, 6, 300, ("kettle", "pan", "blender", "knife", "toaster", "scale")),
    "Clothing": ("CL", 0.16, 9, 160, ("jacket", "shirt", "jeans", "dress", "scarf", "coat")),
    "Shoes": ("SH", 0.09, 25, 190, ("trainers", "boots", "sandals", "loafers")),
    "Toys": ("TO", 0.06, 5, 90, ("puzzle", "blocks", "doll", "board game")),
    "Books": ("BO", 0.06, 5, 45, ("novel", "cookbook", "atlas", "biography")),
    "Garden": ("GA", 0.03, 7, 400, ("hose", "rake", "planter", "mower")),
}
PRODUCTS_PER_CATEGORY = 40

#: City -> how many of a hundred customers live there.
CITIES = {
    "New York": 22, "Los Angeles": 12, "Chicago": 9, "Houston": 7, "Phoenix": 5, "Boston": 6, "Seattle": 6,
    "Denver": 4, "Miami": 5, "São Paulo": 4, "Toronto": 5, "London": 6, "Zürich": 2, "Kraków": 2, "東京": 3,
}  # fmt: skip

BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/145.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 "
    "Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.3 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/145.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:135.0) Gecko/20100101 Firefox/135.0",
)

#: User agents of crawlers as they send them (the list of the project crawler-user-agents has them all).
CRAWLERS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/6.1; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.0; +https://openai.com/gptbot)",
    "Mozilla/5.0 (compatible;PetalBot;+https://webmaster.petalsearch.com/site/petalbot)",
    "DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)",
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "python-requests/2.9.2",
)


class Product(NamedTuple):
    """One thing on sale; the price in the shop's currency."""

    id: str
    name: str
    category: str
    price: float


class Catalog:
    """The shop's products, drawn from ``rng``; a few of each category are far more popular than the rest."""

    def __init__(self, rng: Random) -> None:
        self._names = list(CATEGORIES)
        self._shares = [share for _, share, *_ in CATEGORIES.values()]
        self._shelves: dict[str, list[Product]] = {}
        for name, (prefix, _, low, high, things) in CATEGORIES.items():
            self._shelves[name] = [
                Product(
                    f"{prefix}-{1000 + number}",
                    f"{rng.choice(things)} {number}",
                    name,
                    round(low * (high / low) ** rng.random()) - 0.01,
                )
                for number in range(PRODUCTS_PER_CATEGORY)
            ]

    def category(self, rng: Random) -> str:
        """A category, the popular ones more often."""
        return rng.choices(self._names, self._shares)[0]

    def product(self, rng: Random, category: str) -> Product:
        """A product of the category, the popular ones more often."""
        shelf = self._shelves[category]
        return shelf[int(len(shelf) * rng.random() ** 2)]
