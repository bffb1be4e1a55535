"""vp.data.download against a server on this machine: whole files, broken transfers, checksums, terms."""

import hashlib
import http.server
import io
import json
import re
import tarfile
import threading
import zipfile

import pytest

from vp.data import download, sources
from vp.errors import InputError

SEQ = "160906_band1"


def archive(kind, files):
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as z:
            for name, content in files.items():
                z.writestr(name, content)
    else:
        with tarfile.open(fileobj=out, mode="w") as t:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                t.addfile(info, io.BytesIO(content.encode()))
    return out.getvalue()


class Server:
    """files: {path: bytes}; cut: {path: how many times to break off half way}; log: the requests; status: {path: what to answer};
    announced: {path: its Content-Length, None for no such header}."""

    def __init__(self):
        server = self
        self.files, self.cut, self.log, self.status, self.announced = {}, {}, [], {}, {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self, body=True):
                server.log.append(f"{self.command} {self.path}")
                content = server.files.get(self.path)
                if content is None or self.path in server.status:
                    return self.send_error(server.status.get(self.path, 404))
                self.send_response(200)
                if (announced := server.announced.get(self.path, str(len(content)))) is not None:
                    self.send_header("Content-Length", announced)
                self.end_headers()
                if body and server.cut.get(self.path, 0) > 0:
                    server.cut[self.path] -= 1
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    return self.connection.close()
                return self.wfile.write(content) if body else None

            def do_HEAD(self):
                self.do_GET(body=False)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def gets(self):
        return [x.removeprefix("GET ") for x in self.log if x.startswith("GET")]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda s: None)  # the wait between tries
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    s = Server()
    yield s
    s.http.shutdown()
    s.http.server_close()


@pytest.fixture
def panoptic(server):
    server.files = {
        f"/{SEQ}/calibration_{SEQ}.json": json.dumps({"cameras": list(range(5000))}).encode(),
        f"/{SEQ}/hdPose3d_stage1_coco19.tar": archive("tar", {"hdPose3d_stage1_coco19/body3DScene_00000001.json": '{"bodies": []}' * 2000}),
    }
    return server


def fetch(server, to, name="panoptic", sequences=(SEQ,), **options):
    return download.main(name, to, **{"yes": True, "base": server.base, "sequences": sequences, **options})


def files(to):
    return sorted(p.relative_to(to).as_posix() for p in to.rglob("*") if p.is_file())


WHOLE = [
    f"{SEQ}/calibration_{SEQ}.json",
    f"{SEQ}/hdPose3d_stage1_coco19.tar",
    f"{SEQ}/hdPose3d_stage1_coco19/body3DScene_00000001.json",
    "checksums.txt",
]


def test_files_arrive_whole_are_unpacked_and_remembered(panoptic, tmp_path, capsys):
    to = tmp_path / "data" / "panoptic"
    assert fetch(panoptic, to) == 0
    assert files(to) == WHOLE
    for name, content in panoptic.files.items():
        assert (to / name[1:]).read_bytes() == content
        assert f"{hashlib.sha256(content).hexdigest()}  {name[1:]}" in (to / "checksums.txt").read_text().splitlines()
    said = capsys.readouterr().out
    assert said.index("non-commercial") < said.index("2 files in")
    assert f"vp check-data panoptic --root {to}" in said


def test_a_second_run_fetches_nothing(panoptic, tmp_path, capsys):
    fetch(panoptic, tmp_path)
    panoptic.log.clear()
    fetch(panoptic, tmp_path)
    assert panoptic.log == []
    assert "0 of them new" in capsys.readouterr().out


def test_a_broken_transfer_is_tried_again(panoptic, tmp_path):
    tar = f"/{SEQ}/hdPose3d_stage1_coco19.tar"
    panoptic.cut[tar] = 2
    fetch(panoptic, tmp_path)
    assert panoptic.gets().count(tar) == 3
    assert (tmp_path / tar[1:]).read_bytes() == panoptic.files[tar]
    assert files(tmp_path) == WHOLE


def test_a_transfer_that_always_breaks_leaves_nothing_half(panoptic, tmp_path):
    tar = f"/{SEQ}/hdPose3d_stage1_coco19.tar"
    panoptic.cut[tar] = 100
    with pytest.raises(ConnectionError, match=r"no whole file in 4 tries") as e:
        fetch(panoptic, tmp_path)
    assert "\n" not in str(e.value)
    assert files(tmp_path) == [WHOLE[0], "checksums.txt"]  # what was whole stays
    panoptic.cut.clear()
    panoptic.log.clear()
    fetch(panoptic, tmp_path)
    assert panoptic.gets() == [tar]  # goes on from there
    assert files(tmp_path) == WHOLE


def test_no_such_file_is_one_line_and_not_tried_again(server, tmp_path):
    with pytest.raises(InputError, match="the server has no such file") as e:
        fetch(server, tmp_path)
    assert "\n" not in str(e.value)
    assert server.gets() == [f"/{SEQ}/calibration_{SEQ}.json"]
    assert files(tmp_path) == []


def test_a_busy_server_is_tried_again(panoptic, tmp_path):
    panoptic.status[f"/{SEQ}/calibration_{SEQ}.json"] = 503
    with pytest.raises(ConnectionError, match="503"):
        fetch(panoptic, tmp_path)
    assert len(panoptic.gets()) == 4


def test_nobody_listens(server, tmp_path):
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(ConnectionError, match="no whole file"):
        fetch(server, tmp_path)


def test_older_sequences_come_in_the_older_format(panoptic, tmp_path):
    del panoptic.files[f"/{SEQ}/hdPose3d_stage1_coco19.tar"]
    panoptic.files[f"/{SEQ}/hdPose3d_stage1.tar"] = archive("tar", {"hdPose3d_stage1/body3DScene_00000001.json": "{}"})
    fetch(panoptic, tmp_path)
    assert f"{SEQ}/hdPose3d_stage1/body3DScene_00000001.json" in files(tmp_path)
    panoptic.log.clear()
    fetch(panoptic, tmp_path)
    assert panoptic.log == []


def test_an_error_page_is_not_an_archive(panoptic, tmp_path):
    panoptic.files[f"/{SEQ}/hdPose3d_stage1_coco19.tar"] = b"<html>please log in</html>"
    with pytest.raises(ConnectionError, match="not a whole tar archive"):
        fetch(panoptic, tmp_path)
    assert not (tmp_path / WHOLE[1]).exists()


@pytest.mark.parametrize("kept", [0.5, 1024, 1024 + 511, 14000])  # within a member's data, at the end of one, in a header, in the next
def test_half_an_archive_from_a_server_that_announces_no_size_is_refused_and_not_remembered(panoptic, tmp_path, kept):
    tar = f"/{SEQ}/hdPose3d_stage1_coco19.tar"
    content = archive("tar", {"hdPose3d_stage1_coco19/body3DScene_00000001.json": "{}", "more.json": '{"bodies": []}' * 2000})
    assert content[1024:1033] == b"more.json"
    panoptic.files[tar] = content[: int(kept if kept > 1 else kept * len(content))]
    panoptic.announced[tar] = None
    with pytest.raises(ConnectionError, match="tar archive"):
        fetch(panoptic, tmp_path)
    assert files(tmp_path) == [WHOLE[0], "checksums.txt"]
    assert "tar" not in (tmp_path / "checksums.txt").read_text()
    panoptic.files[tar] = content
    fetch(panoptic, tmp_path)
    assert (tmp_path / SEQ / "more.json").stat().st_size == 28000


def test_a_damaged_zip_is_refused_before_it_has_a_name(server, tmp_path):
    good = archive("zip", {"a.txt": "hello " * 1000, "b.txt": "b"})
    server.files["/MultiPersonTestSet.zip"] = good[:60] + b"?!" + good[62:]  # is_zipfile looks at the end only
    with pytest.raises(ConnectionError, match="damaged zip archive"):
        fetch(server, tmp_path / "new", "mupots", None)
    assert not (tmp_path / "new").exists()
    server.files["/MultiPersonTestSet.zip"] = good
    fetch(server, tmp_path, "mupots", None)
    assert (tmp_path / "b.txt").read_text() == "b"


def test_a_compressed_tar_is_read_to_its_end(tmp_path):
    import gzip

    packed = gzip.compress(archive("tar", {"a.txt": "hello " * 10000}))
    (tmp_path / "a.tar").write_bytes(packed)
    assert download._wrong(tmp_path / "a.tar") == ""
    (tmp_path / "a.tar").write_bytes(packed[:-4])
    assert "whole tar" in download._wrong(tmp_path / "a.tar")


def test_a_new_archive_under_an_old_name_is_unpacked(panoptic, tmp_path):
    fetch(panoptic, tmp_path)
    panoptic.files["/" + WHOLE[1]] = archive("tar", {"hdPose3d_stage1_coco19/body3DScene_00000002.json": "{}"})
    (tmp_path / WHOLE[1]).unlink()
    sums = (tmp_path / "checksums.txt").read_text().splitlines()
    (tmp_path / "checksums.txt").write_text("".join(f"{x}\n" for x in sums if x.startswith("#") or ".tar" not in x))  # as the hint says
    fetch(panoptic, tmp_path)
    assert f"{SEQ}/hdPose3d_stage1_coco19/body3DScene_00000002.json" in files(tmp_path)
    assert sum("unpacked" in x for x in (tmp_path / "checksums.txt").read_text().splitlines()) == 1


@pytest.mark.parametrize("name", [f"calibration_{SEQ}.json", "mine.txt", "hdPose3d_stage1_coco19.tar"])
def test_an_archive_overwrites_nothing(panoptic, tmp_path, name):
    panoptic.files["/" + WHOLE[1]] = archive("tar", {"good.json": "{}", name: '{"cameras": []}'})
    (tmp_path / SEQ).mkdir()
    (tmp_path / SEQ / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=f"would overwrite .*{name}") as e:
        fetch(panoptic, tmp_path)
    assert "\n" not in str(e.value)
    assert (tmp_path / SEQ / "mine.txt").read_text() == "mine"
    assert (tmp_path / WHOLE[0]).read_bytes() == panoptic.files["/" + WHOLE[0]]
    assert not (tmp_path / SEQ / "good.json").exists()
    assert ".tar" not in (tmp_path / "checksums.txt").read_text()


def test_an_archive_brings_no_checksums_of_its_own(server, tmp_path):
    server.files["/MultiPersonTestSet.zip"] = archive("zip", {"checksums.txt": f"{'0' * 64}  MultiPersonTestSet.zip\n"})
    with pytest.raises(InputError, match=r"would overwrite .*checksums\.txt"):
        fetch(server, tmp_path, "mupots", None)


def test_a_file_unpacked_before_a_kill_is_no_obstacle(panoptic, tmp_path):
    fetch(panoptic, tmp_path)
    (tmp_path / "checksums.txt").unlink()
    fetch(panoptic, tmp_path)
    assert files(tmp_path) == WHOLE


@pytest.mark.parametrize("size", ["abc", "-5", "1" * 30])
def test_a_size_that_is_no_number_is_one_line(panoptic, tmp_path, size):
    panoptic.announced["/" + WHOLE[0]] = size
    with pytest.raises(ConnectionError, match="no whole file in 4 tries: the server announces") as e:
        fetch(panoptic, tmp_path / "new")
    assert "\n" not in str(e.value)
    assert not (tmp_path / "new").exists()


def test_a_failure_nobody_thought_of_is_one_line(panoptic, tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("some\nthing")

    monkeypatch.setattr(download, "_announced", broken)
    with pytest.raises(ConnectionError, match="4 tries: some thing"):
        fetch(panoptic, tmp_path)


def test_a_misspelt_sequence_is_one_plain_line_and_leaves_no_folder(panoptic, tmp_path):
    with pytest.raises(InputError, match=r"no such file.*check the name"):
        fetch(panoptic, tmp_path / "new", sequences=["160906_bend1"])
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    panoptic.http.shutdown()
    panoptic.http.server_close()
    for to in ("new", "mine"):
        with pytest.raises(ConnectionError, match=r"the server 127\.0\.0\.1 was not reached; check the connection and the name") as e:
            fetch(panoptic, tmp_path / to, sequences=["160906_bend1"])
        assert "Pool" not in str(e.value)
    assert [p.name for p in tmp_path.rglob("*")] == ["mine"]


def test_a_file_that_changed_here_is_refused(panoptic, tmp_path):
    fetch(panoptic, tmp_path)
    (tmp_path / WHOLE[0]).write_text("{}")
    with pytest.raises(InputError, match="differs from what was fetched first"):
        fetch(panoptic, tmp_path)
    (tmp_path / WHOLE[0]).unlink()
    fetch(panoptic, tmp_path)
    assert (tmp_path / WHOLE[0]).read_bytes() == panoptic.files["/" + WHOLE[0]]


def test_a_file_that_changed_there_is_refused(panoptic, tmp_path):
    fetch(panoptic, tmp_path)
    (tmp_path / WHOLE[0]).unlink()
    panoptic.files["/" + WHOLE[0]] = b'{"cameras": "others"}'
    with pytest.raises(InputError, match="another checksum") as e:
        fetch(panoptic, tmp_path)
    assert "checksums.txt" in str(e.value)
    assert not (tmp_path / WHOLE[0]).exists()


def test_a_file_brought_by_hand_is_kept_if_it_is_whole(panoptic, tmp_path):
    tar = "/" + WHOLE[1]
    (tmp_path / SEQ).mkdir()
    (tmp_path / WHOLE[1]).write_bytes(panoptic.files[tar])
    fetch(panoptic, tmp_path)
    assert tar not in panoptic.gets()
    assert files(tmp_path) == WHOLE


def test_half_a_file_brought_by_hand_is_fetched_again(panoptic, tmp_path):
    tar = "/" + WHOLE[1]
    (tmp_path / SEQ).mkdir()
    (tmp_path / WHOLE[1]).write_bytes(panoptic.files[tar][:5000])
    fetch(panoptic, tmp_path)
    assert (tmp_path / WHOLE[1]).read_bytes() == panoptic.files[tar]


def test_published_checksums_are_verified(server, tmp_path, monkeypatch):
    good = archive("zip", {"annotations/person_keypoints_val2017.json": "{}"})
    images = archive("zip", {"val2017/000000000785.jpg": "jpg"})
    server.files = {"/annotations/annotations_trainval2017.zip": good, "/zips/val2017.zip": images}
    with pytest.raises(InputError, match=r"another checksum.*published: md5:f4bbac642086de4f52a3fdda2de5fa2c"):
        fetch(server, tmp_path, "coco", None)
    assert files(tmp_path) == []
    assert len(server.gets()) == 4  # it might have been the transfer
    first, second = download.SOURCES["coco"].files
    mine = download.File(first.address, first.place, "md5:" + hashlib.md5(good).hexdigest())
    monkeypatch.setitem(sources.COCO_MD5, "val2017", hashlib.md5(images).hexdigest())
    monkeypatch.setitem(download.SOURCES, "coco", sources.Source("COCO", "t", "f", "", (mine, second), ("val2017",), "val2017"))
    fetch(server, tmp_path, "coco", None)
    assert {"annotations/person_keypoints_val2017.json", "val2017/000000000785.jpg"} <= set(files(tmp_path))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_cannot_write_outside(kind, tmp_path):
    to = tmp_path / "inside"
    to.mkdir()
    evil = to / f"evil.{kind}"
    evil.write_bytes(archive(kind, {"../outside.txt": "x", "good.txt": "y"}))
    if kind == "tar":
        with pytest.raises(InputError, match="cannot be unpacked"):
            download._unpack(evil)
    else:
        download._unpack(evil)
        assert (to / "good.txt").read_text() == "y"
    assert not (tmp_path / "outside.txt").exists()
    assert not list(to.glob(".unpack.*"))


def test_a_damaged_archive_is_one_line(tmp_path):
    whole = archive("zip", {"a.txt": "hello " * 1000})
    (tmp_path / "a.zip").write_bytes(whole[:60] + b"\x00\x01" + whole[62:])
    with pytest.raises(InputError, match="cannot be unpacked"):
        download._unpack(tmp_path / "a.zip")


# ---- terms -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["no", "", "y", EOFError])
def test_without_acceptance_nothing_is_asked_of_the_server(panoptic, tmp_path, monkeypatch, answer, capsys):
    def reply(_):
        if answer is EOFError:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", reply)
    with pytest.raises(InputError, match="not accepted"):
        fetch(panoptic, tmp_path / "new", yes=False)
    assert panoptic.log == []
    assert not (tmp_path / "new").exists()
    assert "non-commercial" in capsys.readouterr().out  # the terms came first


def test_yes_on_the_terminal_is_enough(panoptic, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: " Yes ")
    assert fetch(panoptic, tmp_path, yes=False) == 0
    assert files(tmp_path) == WHOLE


@pytest.mark.parametrize("name", ["muco", "cmu"])
def test_what_must_be_fetched_by_hand_is_told(name, tmp_path, capsys):
    assert download.main(name, tmp_path / "there") == 0
    said = capsys.readouterr().out
    assert "by hand" in said
    assert str(tmp_path / "there") in said
    assert not (tmp_path / "there").exists()
    assert "{" not in said


@pytest.mark.parametrize(
    ("name", "sequences", "message"),
    [
        ("panoptik", None, "unknown data set 'panoptik'"),
        ("panoptic", ["../../etc"], "not a sequence of panoptic"),
        ("mupots", ["TS1"], "mupots has no sequences"),
        ("coco", ["val2014"], "not a sequence of coco"),
    ],
)
def test_bad_use_is_one_line(name, sequences, message, tmp_path):
    with pytest.raises(InputError, match=message) as e:
        download.main(name, tmp_path, yes=True, sequences=sequences)
    assert "\n" not in str(e.value)


def test_a_file_as_folder_is_refused(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        download.main("panoptic", tmp_path / "f", yes=True)


def test_the_official_addresses():
    """As in the owners' scripts and pages (panoptic-toolbox's getData.sh, cocodataset.org, the MuPoTS-3D page, the Bandai Namco readme)."""

    def urls(name, sequences=None):
        source = download.SOURCES[name]
        return [f"{source.base}/{f.address}" for f in download._files(name, source, sequences)]

    domedb = "http://domedb.perception.cs.cmu.edu/webdata/dataset"
    assert urls("panoptic", [SEQ]) == [f"{domedb}/{SEQ}/calibration_{SEQ}.json", f"{domedb}/{SEQ}/hdPose3d_stage1_coco19.tar"]
    assert len(urls("panoptic")) == 2 * 13
    assert urls("coco") == [
        "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
        "http://images.cocodataset.org/zips/val2017.zip",
    ]
    assert len(urls("coco", ["train2017", "val2017"])) == 3
    assert urls("mupots") == ["http://gvv.mpi-inf.mpg.de/projects/SingleShotMultiPerson/MultiPersonTestSet.zip"]
    assert urls("bandai") == ["https://github.com/BandaiNamcoResearchInc/Bandai-Namco-Research-Motiondataset/archive/refs/heads/master.zip"]
    for name, source in download.SOURCES.items():
        assert re.match(r"https?://", source.full_text), name
        assert len(source.terms) > 20
