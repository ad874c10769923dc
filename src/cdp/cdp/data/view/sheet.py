"""A contact sheet: one folder with a page that opens from disk, a video of each camera, plots of the motion and a verdict per demonstration."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from cdp.data.demos import DataError, Demo, Rows, demo_names, open_demos, read_all, read_demo, read_masks, row_blocks
from cdp.data.durable import part_of
from cdp.data.images import encode_jpeg
from cdp.data.spec import NS_PER_S
from cdp.data.validate import check
from cdp.data.view.plots import line_plot

_STYLE = """
body{font:14px/1.4 system-ui,sans-serif;margin:24px;background:#f6f6f4;color:#222}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(440px,1fr));gap:16px}
article{background:#fff;border:1px solid #d8d8d4;border-radius:6px;padding:12px}
article.bad{border-color:#c0392b} h2{font-size:15px;margin:0 0 8px} h2 span{font-weight:400;color:#666}
.cameras{display:flex;gap:6px;flex-wrap:wrap} figure{margin:0;flex:1 1 180px} figcaption{font-size:11px;color:#666}
video{width:100%;background:#000;border-radius:4px} .plot{width:100%;height:auto;display:block}
.title{font-size:11px;fill:#333} .key{font-size:11px;text-anchor:end} .tick{font-size:10px;fill:#666;text-anchor:end} .axis{fill:none;stroke:#bbb}
.verdict{margin:6px 0 0;padding:0;list-style:none;font-size:12px} .verdict li{color:#c0392b} .verdict .good{color:#1e8449}
"""
_PLAYED_SPEED_HZ = 10.0


def contact_sheet(path: str | Path, out: str | Path, first: int | None = None) -> int:
    """Write the folder ``out`` about the ``first`` demonstrations (all by default) and return how many they are.

    A sheet that is there is replaced; another folder is not touched. Raises :class:`DataError`.
    """
    out = Path(out)
    if out.exists() and not (out / "index.html").is_file():
        raise DataError(f"{out} is there and is no contact sheet; nothing was written")
    findings = [(finding.where, str(finding)) for finding in check(path, ())]
    part = part_of(out)
    shutil.rmtree(part, ignore_errors=True)
    (part / "media").mkdir(parents=True)
    with open_demos(path) as file:
        names = demo_names(file)[:first]
        splits = {name: split for split, members in read_masks(file).items() for name in members if split in ("train", "valid")}
        rate_hz = float(file["data"].attrs.get("rate_hz", _PLAYED_SPEED_HZ))
        cards = []
        for name in names:
            wrong = [text for where, text in findings if f"{where}/".startswith(f"data/{name}/")]
            cards.append(_card(name, read_demo(file, name), part / "media", rate_hz, splits.get(name, "no split"), wrong))
    general = [text for where, text in findings if not where.startswith("data/demo_")]
    (part / "index.html").write_text(_page(Path(path).name, cards, general), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    part.replace(out)
    return len(names)


def _page(title: str, cards: Sequence[str], findings: Sequence[str]) -> str:
    wrong = "".join(f"<li>{escape(text)}</li>" for text in findings)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}: {len(cards)} demonstrations</h1><p>Lines are targets, dashes what was measured. A click plays a video.</p>"
        f'<ul class="verdict">{wrong}</ul><main>{"".join(cards)}</main></html>\n'
    )


def _card(name: str, demo: Demo, media: Path, rate_hz: float, split: str, wrong: Sequence[str]) -> str:
    attrs = demo.attrs
    cameras = [path for path, array in demo.arrays.items() if path.startswith("obs/") and len(array.shape) == 4]
    figures = [_figure(demo.arrays[path], media, f"{name}_{path.removeprefix('obs/')}", path.removeprefix("obs/"), rate_hz) for path in cameras]
    verdict = [*wrong, *_warnings(attrs)]
    said = {True: "success", False: "failure", None: "success not said"}[None if "success" not in attrs else bool(attrs["success"])]
    facts = " · ".join(escape(str(x)) for x in (attrs.get("task", ""), attrs.get("operator", ""), f"{demo.rows} rows", split, said) if x)
    lines = "".join(f"<li>{escape(text)}</li>" for text in verdict) or '<li class="good">nothing to complain about</li>'
    title = f"<h2>{name} <span>{facts}</span></h2>"
    return (
        f'<article class="{"bad" if verdict else "fine"}" id="{name}">{title}<div class="cameras">{"".join(figures)}</div>'
        f'{"".join(_plots(demo))}<ul class="verdict">{lines}</ul></article>'
    )


def _warnings(attrs: Mapping[str, object]) -> list[str]:
    dropped = json.loads(str(attrs.get("dropped", "{}")))
    return [*json.loads(str(attrs.get("warnings", "[]"))), *(f"{count} messages of {stream} dropped" for stream, count in dropped.items() if count)]


def _figure(images: Rows, media: Path, name: str, camera: str, rate_hz: float) -> str:
    first = np.asarray(images[0:1])[0]
    (media / f"{name}.jpg").write_bytes(encode_jpeg(first, 85).tobytes())
    write_video(media / f"{name}.mp4", images, rate_hz)
    video = f'<video src="media/{name}.mp4" poster="media/{name}.jpg" preload="none" controls loop muted></video>'
    return f"<figure>{video}<figcaption>{escape(camera)} {first.shape[1]}x{first.shape[0]}</figcaption></figure>"


def write_video(path: Path, images: Rows, rate_hz: float) -> None:
    """H.264 of pictures (T, H, W, 3) uint8 at ``rate_hz``; an odd side loses its last line, which the codec asks for."""
    height, width = (side - side % 2 for side in images.shape[1:3])
    writer = imageio_ffmpeg.write_frames(str(path), (width, height), fps=rate_hz, codec="libx264", quality=7, macro_block_size=2)
    writer.send(None)
    for block in row_blocks(images.shape[0]):
        for image in np.asarray(images[block]):
            writer.send(np.ascontiguousarray(image[:height, :width]))
    writer.close()


def _plots(demo: Demo) -> list[str]:
    stamps = read_all(demo, "stamp_ns") if "stamp_ns" in demo.arrays else np.zeros(1)
    duration_s = float(stamps[-1] - stamps[0]) / NS_PER_S
    plots = []
    if {"action_dict/abs_pos", "obs/robot0_eef_pos"} <= demo.arrays.keys():
        target, measured = read_all(demo, "action_dict/abs_pos"), read_all(demo, "obs/robot0_eef_pos")
        plots.append(line_plot("position [m]", "xyz", target, measured, duration_s))
    actions = read_all(demo, "actions").astype(np.float64)
    plots.append(line_plot("action, translation", "xyz", actions[:, :3], None, duration_s))
    if actions.shape[1] > 6:
        plots.append(line_plot("gripper: -1 open, 1 closed", ("command",), actions[:, 6:7], None, duration_s))
    return plots
