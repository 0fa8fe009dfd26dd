"""DetEval against a second implementation that follows the published loops word by word, pair by pair."""

import math
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Polygon

from fasttcm.evaluation import score


class Variant(NamedTuple):
    recall: float
    precision: float
    dont_care: float
    mmocr: bool = False
    overlaps: bool = False
    damped: bool = False


VARIANTS = {
    "db_deteval": Variant(0.8, 0.4, 0.4, overlaps=True),
    "db_icdar2013": Variant(0.8, 0.4, 0.4),
    "db_mtwi2018": Variant(0.7, 0.7, 0.5, damped=True),
    "mmocr_ic13": Variant(0.8, 0.4, 0.4, mmocr=True),
}


def repaired(points):
    polygon = Polygon(points)
    return polygon if polygon.is_valid else polygon.buffer(0)


def shares(first, second, whole):
    area = Polygon(whole).area
    return repaired(first).intersection(repaired(second)).area / area if area else 0.0


def distance(a, b, v):
    centers = [[sum(values) / len(p) for values in zip(*p, strict=True)] for p in (a, b)]
    corners = [
        (p[0], p[2]) if v.mmocr else tuple(zip(*[(min(c), max(c)) for c in zip(*p, strict=True)], strict=True))
        for p in (a, b)
    ]
    return math.dist(*centers) / sum(math.dist(*pair) for pair in corners) * 2


def by_definition(gts, dets, v):
    """(recall sum, precision sum, counted ground truths, counted detections); gts are (points, don't care)."""
    if not v.mmocr:
        gts = [g for g in gts if Polygon(g[0]).is_valid]
        dets = [d for d in dets if Polygon(d).is_valid]
    rows, columns = range(len(gts)), range(len(dets))
    rec = [[shares(g, d, g) for d in dets] for g, _ in gts]
    pre = [[shares(g, d, d) for d in dets] for g, _ in gts]
    swallowed = [any(gts[i][1] and pre[i][j] > v.dont_care for i in rows) for j in columns]
    care = [i for i in rows if not gts[i][1]]
    counted = [j for j in columns if not swallowed[j]]
    free_g, free_d = set(care), set(counted)
    total = [0.0, 0.0]

    def close(i, j):
        if v.mmocr:
            return rec[i][j] > v.recall and pre[i][j] > v.precision
        return rec[i][j] >= v.recall and pre[i][j] >= v.precision

    def partners(i=None, j=None):
        if not v.overlaps:
            return None
        return sum(rec[i][k] > 0 for k in counted) if j is None else sum(rec[k][j] > 0 for k in care)

    def earn(i, j, recall, precision):
        free_g.difference_update(i)
        free_d.difference_update(j)
        if len(i) == len(j) == 1 and not v.mmocr:
            recall = precision = 1.0
        total[0] += recall
        total[1] += precision

    def rounded(value):
        return value if v.mmocr else round(value, 4)

    for i in care:
        for j in counted:
            alone = close(i, j) and sum(close(i, k) for k in columns) == 1 and sum(close(k, j) for k in rows) == 1
            lonely = partners(i=i) in (None, 1) and partners(j=j) in (None, 1)
            if i in free_g and j in free_d and alone and lonely and distance(gts[i][0], dets[j], v) < 1:
                free_g.remove(i)
                free_d.remove(j)
                total[0] += 1
                total[1] += 1
    for i in care:
        found = [j for j in counted if i in free_g and j in free_d and pre[i][j] >= v.precision]
        many = v.overlaps is False or partners(i=i) >= 2
        if many and found and rounded(sum_up(rec[i][j] for j in found)) >= v.recall:
            k = len(found)
            earn([i], found, *((1.0, k / (1 + math.log(k))) if v.damped else (0.8, 0.8 * k)))
    for j in counted:
        found = [i for i in care if i in free_g and j in free_d and rec[i][j] >= v.recall]
        many = v.overlaps is False or partners(j=j) >= 2
        if many and found and rounded(sum_up(pre[i][j] for i in found)) >= v.precision:
            k = len(found)
            earn(found, [j], k / (1 + math.log(k)) if v.damped else k, 1.0)
    return total[0], total[1], len(care), len(counted)


def sum_up(values):
    total = 0.0
    for value in values:
        total += value
    return total


def quad(x, y, width, height, twist):
    corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]
    return [corners[i] for i in ((0, 2, 1, 3) if twist else range(4))]


quads = st.builds(
    quad,
    st.integers(0, 20).map(lambda v: 2 * v),
    st.integers(0, 10).map(lambda v: 2 * v),
    st.sampled_from([10, 20, 40]),
    st.sampled_from([4, 8, 10]),
    st.sampled_from([False] * 9 + [True]),
)


@st.composite
def scenes(draw):
    """Words with their pieces, near copies and unions among unrelated boxes."""
    gts = draw(st.lists(st.tuples(quads, st.sampled_from([False] * 4 + [True])), max_size=5))
    dets = draw(st.lists(quads, max_size=3))
    for (x, y), _, (right, bottom), _ in (points for points, _ in gts):
        kind = draw(st.sampled_from(["none", "copy", "pieces", "wide"]))
        width, height = right - x, bottom - y
        if kind == "copy":
            dets.append(quad(x + draw(st.integers(0, 2)), y, width, height, False))
        elif kind == "pieces":
            dets += [quad(x, y, width / 2, height, False), quad(x + width / 2, y, width / 2, height, False)]
        elif kind == "wide":
            dets.append(quad(x - width, y, 2 * width, height, False))
    return gts, dets


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=60, deadline=None)
@given(scenes())
def test_deteval_follows_the_published_loops(name, scene):
    gts, dets = scene
    truth = [{"points": points, "text": "###" if ignore else "word"} for points, ignore in gts]
    found = [{"points": points, "score": 0.95} for points in dets]
    result = score({"images": [{"id": 1, "words": truth}]}, {"images": [{"id": 1, "words": found}]}, protocol=name)
    figures = result.detection
    actual = figures.matched, figures.earned, figures.ground_truth, figures.predicted
    assert actual == pytest.approx(by_definition(gts, dets, VARIANTS[name]), abs=1e-9)
