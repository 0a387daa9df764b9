"""What the unit keeps from the service, on fake roots with the unit as it is shipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_app.checks import Check
from edge_app.checks.sandbox import UNIT, check_hidden, check_network_filter
from edge_app.checks.unit import check_unit
from edge_app.settings import Config

BUNDLE = Path("/var/lib/edge-app/bundles/door/current")  # where the unit hides nothing


def config(host: str = "localhost", *sources: str, bundle: Path = BUNDLE, **mqtt: object) -> Config:
    tables = {
        "mqtt": {"host": host, **mqtt},
        "model": {"bundles": [str(bundle)]},
        "camera": [{"name": f"door{number}", "source": source} for number, source in enumerate(sources or ("scene:",))],
    }
    return Config.model_validate_json(json.dumps(tables))


def drop_in(root: Path, *lines: str) -> None:
    """A file of the operator's that changes the unit."""
    path = root / f"etc/systemd/system/{UNIT}.d/10-site.conf"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["[Service]", *lines, ""]), encoding="ascii")


def network(root: Path, checked: Config) -> list[Check]:
    return list(check_network_filter(checked, root))


def test_broker_that_the_unit_shuts_out_is_named(root: Path) -> None:
    """As installed the unit lets the service talk to this machine only; a drop-in opens the way."""
    assert [check.status for check in network(root, config("localhost"))] == ["ok"]
    (check,) = network(root, config("10.0.0.5"))
    assert check.status == "fail"
    assert "--allow 10.0.0.5" in check.mend
    drop_in(root, "IPAddressAllow=10.0.0.0/24")
    assert [check.status for check in network(root, config("10.0.0.5"))] == ["ok"]
    assert [check.status for check in network(root, config("10.0.1.5"))] == ["fail"]


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://10.0.0.9/door",
        "rtsp://user:pa%2Fss@10.0.0.9:8554/door",
        "http://10.0.0.9/mjpeg?user=me",
        'gst:playbin3!uri="rtsp://10.0.0.9/door"',
    ],
)
def test_network_camera_that_the_unit_shuts_out_is_named(root: Path, source: str) -> None:
    """The doctor reaches it, being under no filter; the service would not. No login is told."""
    broker, camera = network(root, config("localhost", source, "/dev/video0"))
    assert broker.status == "ok"
    assert (camera.name, camera.status) == ("unit network door0", "fail")
    assert "camera door0 at 10.0.0.9" in camera.what
    assert "--allow 10.0.0.9" in camera.mend
    assert "pa/ss" not in camera.what
    drop_in(root, "IPAddressAllow=10.0.0.9")
    assert [check.status for check in network(root, config("localhost", source))] == ["ok", "ok"]


def test_filter_that_a_drop_in_lifts_is_no_fault(root: Path) -> None:
    """An empty value begins a list anew (systemd.unit(5))."""
    drop_in(root, "IPAddressDeny=")
    assert [check.status for check in network(root, config("10.0.0.5", "rtsp://10.0.0.9/"))] == ["ok"]


@pytest.mark.parametrize(
    ("key", "checked"),
    [
        ("model.bundles.0", config(bundle=Path("/home/me/bundle"))),
        ("mqtt.tls_ca_certs", config(tls_ca_certs="/root/ca.pem")),
        ("mqtt.tls_client_cert", config(tls=True, tls_client_cert="/root/own.pem", tls_client_key="/k")),
        ("camera.0.source", config("localhost", "file:/tmp/video.mp4")),
    ],
)
def test_file_that_the_unit_hides_is_named(root: Path, key: str, checked: Config) -> None:
    """ProtectHome= and PrivateTmp= hide these folders from the service whatever their rights are."""
    check = check_hidden(checked, root)
    assert check.status == "fail"
    assert check.what.startswith(f"{key}: ")
    assert check in check_unit(checked, root)
    drop_in(root, "ProtectHome=read-only", "PrivateTmp=no")
    assert check_hidden(checked, root).status == "ok"


def test_link_out_of_a_home_is_followed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the link leads to has to be seen as well; another folder is no fault."""
    link = root / "bundle"
    link.symlink_to("/home/me/bundle")
    drop_in(root, "PrivateTmp=no")
    assert check_hidden(config(bundle=link), root).status == "fail"
    assert check_hidden(config(bundle=root / "other"), root).status == "ok"
