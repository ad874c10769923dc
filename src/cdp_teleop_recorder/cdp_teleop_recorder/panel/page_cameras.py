"""Live pictures; one that is old, or missing, says so across itself."""

from __future__ import annotations

from dataclasses import dataclass

from nicegui import ui

from cdp_teleop_recorder.panel.cameras import Camera, Cameras


@dataclass(frozen=True)
class _Shown:
    card: ui.element
    picture: ui.interactive_image
    age: ui.label
    notice: ui.label


class CameraWall:
    """A card for each camera."""

    def __init__(self, cameras: Cameras, stale_after_s: float) -> None:
        self._cameras, self._stale_after_s = cameras, stale_after_s
        self._numbers = [0] * len(cameras.cameras)
        self._shown = [self._card(camera) for camera in cameras.cameras]
        if not cameras.cameras:
            ui.label("no camera: image_topic is empty").classes("quiet")

    def refresh(self) -> None:
        """Show the newest pictures, and how old they are."""
        for index, shown in enumerate(self._shown):
            picture, age_s = self._cameras.picture(index), self._cameras.age_s(index)
            if picture.jpeg and picture.number != self._numbers[index]:
                self._numbers[index] = picture.number
                shown.picture.set_source(f"/camera/{index}?{picture.number}")
            stale = age_s is None or age_s > self._stale_after_s
            shown.card.classes(replace="camera stale" if stale else "camera")
            shown.age.set_text("" if age_s is None else f"{age_s:.1f} s old" if stale else "live")
            shown.age.classes(replace="age bad" if stale else "age")
            notice = self._cameras.lack(index) if stale else ""
            shown.notice.set_text(f"STALE {age_s:.0f} s: {notice}" if stale and age_s is not None else notice)

    def _card(self, camera: Camera) -> _Shown:
        with ui.element("figure").classes("camera") as card:
            with ui.element("figcaption"):
                ui.label(camera.name).classes("name")
                age = ui.label().classes("age")
            picture = ui.interactive_image().classes("picture")
            notice = ui.label().classes("notice").props('data-name="stale"')
        return _Shown(card, picture, age, notice)
