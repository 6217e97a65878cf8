#!/usr/bin/env bash
# Test the QGIS plugin, all of it: installs QGIS where it is missing (Debian, Ubuntu), makes a virtual environment
# on QGIS's own Python, runs the tests inside QGIS, then a whole desktop under Xvfb with the real engine.
#
#   qgis_plugin/tests/run.sh              everything; needs the engine, REMOTESAM_TEST_ENGINE or remotesam on PATH
#   qgis_plugin/tests/run.sh quick        without the desktop and the engine
#   qgis_plugin/tests/run.sh pictures DIR everything, and keep the screenshots in DIR (needs imagemagick)
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
PACKAGES=(qgis python3-qgis python3-venv xvfb xauth)

if ! /usr/bin/python3 -c "import qgis.core" 2>/dev/null || ! command -v xvfb-run >/dev/null; then
  echo "Installing QGIS: ${PACKAGES[*]}"
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  install() {
    $sudo apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${PACKAGES[@]}" >/dev/null
  }
  install || { sleep 20 && install; }
fi
/usr/bin/python3 -c "import qgis.core; print('QGIS', qgis.core.Qgis.QGIS_VERSION)"

venv=.venv-qgis # on the system's Python, the only one that has QGIS
if [ ! -e "$venv/.ready" ]; then
  /usr/bin/python3 -m venv --system-site-packages "$venv"
  "$venv/bin/pip" install --quiet pytest pytest-qgis pytest-timeout bandit flake8 detect-secrets PyQt6
  touch "$venv/.ready"
fi

runtime=$(mktemp -d)
trap 'rm -rf "$runtime"' EXIT
chmod 700 "$runtime"
export QT_QPA_PLATFORM=offscreen XDG_RUNTIME_DIR=$runtime REMOTESAM_REQUIRE_QGIS=1
"$venv/bin/python" -m pytest
if [ "$what" != quick ]; then
  if [ "$what" = pictures ]; then
    REMOTESAM_PICTURES=$(realpath -m "$2")
    export REMOTESAM_PICTURES
  fi
  local_engine=$(realpath -m ../.venv/bin/remotesam)
  if [ -z "${REMOTESAM_TEST_ENGINE:-}" ] && [ -x "$local_engine" ]; then
    export REMOTESAM_TEST_ENGINE=$local_engine
  fi
  if [ -z "${REMOTESAM_TEST_ENGINE:-}" ] && ! command -v remotesam >/dev/null; then
    echo "no engine for the desktop tests: run make test first, or set REMOTESAM_TEST_ENGINE" >&2
    exit 1
  fi
  "$venv/bin/python" -m pytest -m desktop
  if [ "$what" = pictures ]; then # small enough to lie in the repository
    for picture in "$REMOTESAM_PICTURES"/*.png; do
      convert "$picture" -resize 1120x +dither -colors 200 -define png:compression-level=9 "$picture"
    done
  fi
fi
