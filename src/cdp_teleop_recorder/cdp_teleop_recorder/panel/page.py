"""The page: what it is made of, where its pictures come from, and how it is kept up to date."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from nicegui import ui

from cdp_teleop_recorder.panel.cameras import Cameras
from cdp_teleop_recorder.panel.episode_list import EpisodeList, ListError
from cdp_teleop_recorder.panel.heard import Board
from cdp_teleop_recorder.panel.page_cameras import CameraWall
from cdp_teleop_recorder.panel.page_controls import Controls
from cdp_teleop_recorder.panel.page_episodes import EpisodeColumn
from cdp_teleop_recorder.panel.page_health import Health
from cdp_teleop_recorder.panel.page_top import Top
from cdp_teleop_recorder.panel.recorder_client import RecorderClient
from cdp_teleop_recorder.panel.settings import PanelParameters

_REFRESH_S = 0.25
_LIST_S = 1.0
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Panel:
    """What the page shows and does."""

    settings: PanelParameters
    board: Board
    recorder: RecorderClient
    cameras: Cameras
    episodes: EpisodeList


def make_app(panel: Panel) -> FastAPI:
    """The web application around ``panel``; one a process, since NiceGUI has one."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.get("/camera/{index}")(_camera_route(panel))
    app.get("/thumbnail/{place}/{name}")(_thumbnail_route(panel))
    head = f"<style>{(_HERE / 'panel.css').read_text('utf-8')}</style><script>{(_HERE / 'panel.js').read_text('utf-8')}</script>"

    @ui.page("/")
    def page() -> None:
        ui.add_head_html(head)
        _build(panel)

    ui.run_with(app, title="Recording", dark=True, binding_refresh_interval=None, tailwind=False, show_welcome_message=False)
    return app


def _build(panel: Panel) -> None:
    top = Top()
    with ui.element("div").classes("columns"):
        with ui.element("section").classes("cameras"):
            wall = CameraWall(panel.cameras, panel.settings.stale_after_s)
        with ui.element("section").classes("middle"):
            controls = Controls(panel.board, panel.recorder)
            health = Health()
        with ui.element("section").classes("episodes"):
            episodes = EpisodeColumn(panel.board, panel.episodes)

    def refresh() -> None:
        panel.cameras.look()
        view = panel.board.recorder()
        top.refresh(view)
        wall.refresh()
        controls.refresh(view)
        health.refresh(view, panel.board.guard(), panel.board.policy())
        # Last: a page whose refresh fails says so by itself, as does one whose server hangs.
        ui.run_javascript("cdpBeat()")

    ui.timer(min(_REFRESH_S, 1.0 / panel.settings.picture_rate_hz), refresh)
    ui.timer(_LIST_S, episodes.refresh)


def _camera_route(panel: Panel) -> Callable[..., Any]:
    async def camera(index: int) -> Response:
        jpeg = panel.cameras.picture(index).jpeg if 0 <= index < len(panel.cameras.cameras) else b""
        return _jpeg(jpeg or None, "no-store")

    return camera


def _thumbnail_route(panel: Panel) -> Callable[..., Any]:
    # Not async: FastAPI then reads the file in a thread.
    def thumbnail(place: str, name: str) -> Response:
        try:
            return _jpeg(panel.episodes.thumbnail(name, discarded=place == "discarded"), "private, max-age=86400")
        except ListError:
            return _jpeg(None, "no-store")

    return thumbnail


def _jpeg(data: bytes | None, cache: str) -> Response:
    if data is None:
        return Response(status_code=404, headers={"Cache-Control": "no-store"})
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": cache})
