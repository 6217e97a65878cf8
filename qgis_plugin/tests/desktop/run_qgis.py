"""Start a QGIS desktop in an empty profile under Xvfb and let session.py work in it."""

import json
import os
import subprocess
from pathlib import Path

SESSION = Path(__file__).with_name("session.py")
SCREEN = "1500x900x24"


def run_session(folder, orders, timeout=900):
    """Run the session.

    Args:
        folder: Where profile, pictures and report go.
        orders: What session.py is told.
        timeout: Seconds.

    Returns:
        (exit code of QGIS, the report, what QGIS printed).
    """
    profile = folder / "profiles" / "default"
    (profile / "QGIS").mkdir(parents=True)
    (profile / "QGIS" / "QGIS3.ini").write_text(
        "[PythonPlugins]\n"
        "[qgis]\ncheckVersion=false\nshowTips340=false\nnewsFeedDisabled=true\n"
        "[app]\nplugin_installer\\checkOnStart=false\n"
    )
    orders_file = folder / "orders.json"
    orders_file.write_text(json.dumps({"limit": timeout - 60, **orders}), encoding="utf-8")
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    environ = {key: value for key, value in os.environ.items() if key != "QT_QPA_PLATFORM"}
    environ |= {"REMOTESAM_DESKTOP": str(orders_file), "XDG_RUNTIME_DIR": str(runtime), "LC_ALL": "C.UTF-8"}
    command = ["xvfb-run", "-a", "-s", f"-screen 0 {SCREEN}", "qgis", "--nologo"]
    command += ["--profiles-path", str(folder), "--code", str(SESSION)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=timeout, check=False)
    report = folder / "report.json"
    if report.exists():
        said = json.loads(report.read_text(encoding="utf-8"))
    else:
        said = {"hang": (folder / "hang.txt").read_text(encoding="utf-8")}
    return done.returncode, said, done.stdout + done.stderr
