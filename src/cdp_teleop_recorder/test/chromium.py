"""A Chromium without a display, for tests that look at a page; found among what the system has, never downloaded."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

_BROWSERS = ("chromium", "google-chrome", "chromium-browser")
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1920,1080")


def find() -> tuple[str, str]:
    """Browser and driver. Skips the test where there are none."""
    driver = shutil.which("chromedriver") or shutil.which("chromedriver", path=os.environ.get("CHROMEWEBDRIVER", ""))
    for name in _BROWSERS:
        browser = shutil.which(name)
        # Ubuntu's chromium-browser is a script that asks for snap.
        if browser and driver and subprocess.run([browser, "--version"], capture_output=True, timeout=60).returncode == 0:
            return browser, driver
    pytest.skip("no Chromium with a chromedriver: on Debian, tools/setup.sh --test installs both")


def start(folder: Path) -> webdriver.Chrome:
    """A browser whose profile is in ``folder``; the caller quits it."""
    browser, driver = find()
    options = Options()
    options.binary_location = browser
    for flag in (*_FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))
