"""Columns of categories as the network reads them: a learned vector for each category.

    E(0) = w_0                    a category that the fit did not know, or a missing one
    E(k) = w_0 + w_k              category k = 1 … K

All w start at 0 and are as long as `embedding_size(K)`. What sets a category apart is learned on top of the
unknown one, so that a category without an example in training is forecast as an unknown one. A small share of
the training examples has its categories taken away, which trains w_0 to stand alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from gatestack.tasks.forecast.panel import Chunk

__all__ = ["CategoryEmbeddings", "category_counts", "drop_categories", "embedding_size"]

_LARGEST_SIZE = 16
# Share of the training examples in which a column of categories is taken for unknown.
_DROPPED = 0.1


def embedding_size(categories: int) -> int:
    """Give the length of the vectors of a column: 1 + √K, rounded up, at most 16.

    Args:
        categories: K, number of categories, 1 or more.

    Example:
        >>> [embedding_size(categories) for categories in (2, 10, 500)]
        [3, 5, 16]
    """
    return min(1 + math.ceil(math.sqrt(categories)), _LARGEST_SIZE)


def category_counts(
    categories: Mapping[str, Sequence[str]], names: Sequence[str], calendar: int = 0
) -> tuple[int, ...]:
    """Count the categories of columns, 0 where one holds numbers; nothing where all do.

    Args:
        categories: the names in each column of categories.
        names: the columns.
        calendar: number of calendar features after them.

    Example:
        >>> category_counts({"kind": ["shop", "web"]}, ["size", "kind"], calendar=1)
        (0, 2, 0)
    """
    counts = tuple(len(categories.get(name, ())) for name in names) + (0,) * calendar
    return counts if any(counts) else ()


class CategoryEmbeddings(nn.Module):
    """Puts a learned vector in the place of each code of a category, and leaves numbers as they are.

    Args:
        categories: for each column its number of categories, 0 where it holds numbers.

    Example:
        >>> CategoryEmbeddings((0, 9))(torch.zeros(5, 2)).shape
        torch.Size([5, 5])
    """

    def __init__(self, categories: tuple[int, ...]) -> None:
        super().__init__()
        self.categories = categories
        self.weights = nn.ParameterDict(
            {
                str(column): nn.Parameter(torch.zeros(1 + count, embedding_size(count)))
                for column, count in enumerate(categories)
                if count
            }
        )

    @property
    def width(self) -> int:
        """Number of features that come out."""
        return sum(embedding_size(count) if count else 1 for count in self.categories)

    def table(self, column: int) -> Tensor:
        """Give the vectors of one column of categories, (1 + K, size), the unknown one first."""
        weight: Tensor = self.weights[str(column)]
        return torch.cat([weight[:1], weight[:1] + weight[1:]])

    def forward(self, columns: Tensor) -> Tensor:
        """Embed columns (…, columns), codes and numbers, as (…, width)."""
        if not self.weights:
            return columns
        parts = [
            self.table(place)[columns[..., place].long()] if count else columns[..., place : place + 1]
            for place, count in enumerate(self.categories)
        ]
        return torch.cat(parts, dim=-1)


def drop_categories(
    chunk: Chunk, categories: tuple[int, ...], static_categories: tuple[int, ...], random: np.random.Generator
) -> Chunk:
    """Take some categories of a chunk for unknown: each column of categories in a tenth of the rows.

    Args:
        chunk: N pieces of series; not changed.
        categories: for each covariate its number of categories, 0 where it holds numbers.
        static_categories: the same for the static columns.
        random: of the draws.
    """

    def kept(counts: tuple[int, ...]) -> Tensor:
        drawn = random.random((len(chunk.target), len(counts))) >= _DROPPED
        return torch.from_numpy(drawn | (np.array(counts) == 0))

    if any(categories):
        chunk = chunk._replace(covariates=chunk.covariates * kept(categories)[:, None])
    if any(static_categories):
        chunk = chunk._replace(static=chunk.static * kept(static_categories))
    return chunk
