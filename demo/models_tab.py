"""The models tab: what is known of each model, and what to know before trusting any of them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from . import facts
from .cards import dash
from .models import Contender

TRUST = """
<section class="trust"><h2>Before you trust any of it</h2><ul>
<li><strong>Apparent age.</strong> The models learnt what age people look in pictures, from labels
that are themselves estimates. The true age of a person is another matter.</li>
<li><strong>Not for decisions about people.</strong> Not for checking ages, hiring, access,
insurance or policing. The data and these weights are for non-commercial research only.</li>
<li><strong>Uneven.</strong> Most training pictures show adults of 25 to 32. Groups with few
pictures (4-6, 38-43, 48-53) are told far worse: see the tables of each model.</li>
<li><strong>Gaps.</strong> The eight groups are the Adience benchmark's and leave gaps (3, 7, 14,
21-24, ...). A face of such an age gets a neighbouring group.</li>
<li><strong>Upright, frontal faces.</strong> Profiles, covered or tilted faces and poor light give
no answer or a worse one.</li>
<li><strong>"Sure" is a probability.</strong> It is calibrated on pictures like those of the
training. On other pictures models are surer than they should be.</li></ul></section>
"""
COLUMNS = (
    "exact",
    "95 % interval",
    "1-off",
    "macro-F1",
    "mean error",
    "parameters",
    "input",
    "file",
)


def build(contenders: Sequence[Contender]) -> None:
    """Lay out the tab."""
    gr.HTML(page(contenders), apply_default_css=False, elem_id="models")


def page(contenders: Sequence[Contender]) -> str:
    """Write the tab as HTML: a table of all, the cautions, and each model's own tables."""
    known = [contender for contender in contenders if contender.metadata]
    each = "".join(_one(contender) for contender in known)
    return f'<div class="models">{_overview(contenders)}{TRUST}{each}</div>'


def _overview(contenders: Sequence[Contender]) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in COLUMNS)
    rows = "".join(
        f'<tr><th scope="row">{escape(contender.name)}<small>{escape(contender.title)}</small></th>'
        + (
            f'<td class="broken" colspan="{len(COLUMNS)}">{escape(contender.error)}</td>'
            if contender.error
            else "".join(f"<td>{cell}</td>" for cell in _cells(contender))
        )
        + "</tr>"
        for contender in contenders
    )
    majority = next(
        (c.metadata.metrics for c in contenders if c.metadata and "majority" in c.metadata.metrics),
        None,
    )
    baseline = (
        f'<tr class="base"><th scope="row">always {dash(majority["majority_group"])}'
        f"<small>no model at all</small></th><td>{majority['majority']:.1%}</td>"
        f'<td colspan="{len(COLUMNS) - 1}"></td></tr>'
        if majority
        else ""
    )
    return (
        "<h2>The models</h2><p>Figures are of the test split of UTKFace, pictures that no model "
        "saw in its training. <em>1-off</em> counts a neighbouring group as right.</p>"
        '<div class="wide" tabindex="0" role="region" aria-label="Comparison of the models"><table>'
        f"<thead><tr><th>model</th>{head}</tr></thead><tbody>{rows}{baseline}</tbody></table></div>"
    )


def _cells(contender: Contender) -> list[str]:
    meta = contender.metadata
    assert meta
    scores: dict[str, Any] = meta.metrics
    tested = "exact" in scores
    low, high = scores.get("exact_interval", (0, 0))
    return [
        f"<strong>{scores['exact']:.1%}</strong>" if tested else "not tested",
        f"{100 * low:.1f} – {100 * high:.1f}" if tested else "",
        f"{scores['one_off']:.1%}" if tested else "",
        f"{scores['macro_f1']:.1%}" if tested else "",
        f"{scores['mae']:.1f} years" if "mae" in scores else "gives no age",
        facts.short(contender.parameters) if contender.parameters else "",
        f"{meta.image_size} px",
        f"<code>{contender.digest}</code>",
    ]


def _one(contender: Contender) -> str:
    meta = contender.metadata
    assert meta
    scores = meta.metrics
    if "confusion" not in scores:
        return ""
    return (
        f"<details><summary><span>{escape(contender.name)}</span> group by group</summary>"
        f"<p>{escape(facts.training(contender))}. {escape(meta.licence)}.</p>"
        f'<div class="pair">{_confusion(meta.scheme, scores["confusion"])}'
        f"{_per_group(scores['per_group'])}</div></details>"
    )


def _confusion(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    head = "".join(f'<th scope="col">{dash(label)}</th>' for label in labels)
    rows = "".join(
        f'<tr><th scope="row">{dash(label)}</th>'
        + "".join(_cell(count / max(1, sum(counts)), count) for count in counts)
        + "</tr>"
        for label, counts in zip(labels, confusion, strict=True)
    )
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Confusion matrix">'
        '<table class="confusion"><caption>True group (rows) and answered group (columns), in test '
        f"pictures</caption><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(share: float, count: int) -> str:
    return f'<td style="--s:{share:.3f}" title="{share:.0%}">{count or "·"}</td>'


def _per_group(groups: dict[str, dict[str, float]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{dash(label)}</th><td>{row["n"]:,}</td>'
        f"<td>{row['precision']:.0%}</td><td>{row['recall']:.0%}</td></tr>"
        for label, row in groups.items()
    )
    return (
        '<table class="groups"><caption>Of its answers, how many are right; of the group, how many '
        "are found</caption><thead><tr><td></td><th scope=col>pictures</th><th scope=col>right</th>"
        f"<th scope=col>found</th></tr></thead><tbody>{rows}</tbody></table>"
    )
