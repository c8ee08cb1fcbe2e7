"""How long the page of `pspnet demo` takes to be there, in a browser on the same machine.

    python -m benchmarks.web_page --address=http://127.0.0.1:7860/ [--image=FILE] [--rounds=5]

Each round is a browser that has never been there: from the request until the place for images can
be used. With an image, also from its upload until the picture is there, of which the first may
hold the compilation.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time

from playwright.sync_api import Browser, sync_playwright


def visit(browser: Browser, address: str, image: str | None) -> tuple[float, float, int, int]:
  """Seconds until the page is there and until the image is labelled, requests, and bytes."""
  context = browser.new_context(viewport={'width': 1280, 'height': 900})
  page = context.new_page()
  urls: list[str] = []
  page.on('request', lambda request: urls.append(request.url))
  begin = time.perf_counter()
  page.goto(address, wait_until='commit')
  page.wait_for_selector('#upload button')
  there = time.perf_counter() - begin
  size = page.evaluate(
    'performance.getEntries().reduce((sum, x) => sum + (x.transferSize || 0), 0)'
  )
  requests, labelled = len(urls), 0.0
  if image:
    begin = time.perf_counter()
    page.locator('#upload input[type=file]').set_input_files(image)
    page.wait_for_selector('#pictures img', timeout=600_000)
    labelled = time.perf_counter() - begin
  context.close()
  return there, labelled, requests, size


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--address', required=True)
  parser.add_argument('--image')
  parser.add_argument('--rounds', type=int, default=5)
  options = parser.parse_args()
  with sync_playwright() as playwright:
    chromium = shutil.which('chromium') or shutil.which('google-chrome')
    root = ['--no-sandbox'] if os.getuid() == 0 else []
    browser = playwright.chromium.launch(executable_path=chromium, args=root)
    rounds = [visit(browser, options.address, options.image) for _ in range(options.rounds)]
    browser.close()
  there, labelled, requests, size = zip(*rounds, strict=True)
  print(f'there after {statistics.median(there):.2f} s ({", ".join(f"{x:.2f}" for x in there)})')
  if options.image:
    print(f'labelled after {statistics.median(labelled):.2f} s (first {labelled[0]:.2f})')
  print(f'{requests[0]} requests, {size[0] / 1e3:,.0f} kB; load {os.getloadavg()[0]:.1f}')


if __name__ == '__main__':
  main()
