"""Files in folders and archives, and what is refused."""

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from fasttcm.data.prepare import archive, source
from fasttcm.data.prepare.source import Source, decode_text
from fasttcm.errors import DataError

FILES = {"train/img_1.jpg": b"one", "train/gt_img_1.txt": b"1,2\n", "Test/GT_img_2.TXT": b"3,4\n"}


def zip_of(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return stream.getvalue()


def tar_of(files: dict[str, bytes], mode: str = "w", *extra: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as packed:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
        for member in extra:
            packed.addfile(member)
    return stream.getvalue()


PACKERS = {
    "set.zip": lambda files: zip_of(files),
    "set.tar": lambda files: tar_of(files),
    "set.tar.gz": lambda files: tar_of(files, "w:gz"),
    "set.tgz": lambda files: tar_of(files, "w:gz"),
    "set.tar.bz2": lambda files: tar_of(files, "w:bz2"),
    "set.tar.xz": lambda files: tar_of(files, "w:xz"),
}


def test_a_folder(write_source) -> None:
    root = write_source(FILES | {".DS_Store": b"x", "__MACOSX/train/._img_1.jpg": b"x", "train/Thumbs.db": b"x"})
    with Source.open(root) as files:
        assert files.names() == ["Test/GT_img_2.TXT", "train/gt_img_1.txt", "train/img_1.jpg"]
        assert files.find("gt_*.txt") == ["Test/GT_img_2.TXT", "train/gt_img_1.txt"]
        assert files.find("test/*.txt") == ["Test/GT_img_2.TXT"] and files.find("est/*.txt") == []
        assert files.find("t*.txt") == [], "without a folder, the last part of the name"
        assert files.read("train/img_1.jpg") == b"one" and files.size("train/img_1.jpg") == 3
        assert files.path("train/img_1.jpg") == root / "train/img_1.jpg" and files.path("none") is None
        assert files.has("train/img_1.jpg") and not files.has("train/img_2.jpg")
        with pytest.raises(DataError, match=r"no file 'train/img_2\.jpg'"):
            files.read("train/img_2.jpg")


@pytest.mark.parametrize("name", PACKERS)
def test_an_archive_is_read_as_the_folder_it_holds(name: str, tmp_path: Path) -> None:
    packed = tmp_path / name
    packed.write_bytes(PACKERS[name](FILES))
    with Source.open(packed) as files:
        assert {inner: files.read(inner) for inner in reversed(files.names())} == FILES
        assert files.path("train/img_1.jpg") is None and files.size("train/img_1.jpg") == 3
        with files.stream("train/gt_img_1.txt") as stream:
            assert stream.seek(2) == 2 and stream.read() == b"2\n" and stream.seek(0) == 0
    assert [file.name for file in tmp_path.iterdir()] == [name], "nothing is unpacked to a name"


def test_archives_in_folders_and_in_archives(write_source) -> None:
    inner = tar_of({"img_1.jpg": b"deep"}, "w:gz")
    root = write_source({"gt/a.txt": b"a", "images.zip": zip_of({"part1.tgz": inner, "b.txt": b"b"})})
    with Source.open(root) as files:
        assert files.names() == ["gt/a.txt", "images.zip/b.txt", "images.zip/part1.tgz/img_1.jpg"]
        assert files.read("images.zip/part1.tgz/img_1.jpg") == b"deep"
        assert files.find("images.zip/*.jpg") == ["images.zip/part1.tgz/img_1.jpg"]


def test_an_archive_beside_its_unpacked_folder_is_passed_over(write_source) -> None:
    root = write_source({"images.zip": zip_of({"img_1.jpg": b"packed"}), "images/img_1.jpg": b"unpacked"})
    with Source.open(root) as files:
        assert files.names() == ["images/img_1.jpg"]


def test_too_deep_an_archive(write_source) -> None:
    content = zip_of({"a.txt": b"a"})
    for _ in range(source.MAX_DEPTH):
        content = zip_of({"next.zip": content})
    with pytest.raises(DataError, match="nested deeper than 3"):
        Source.open(write_source({"first.zip": content}))


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "a/../../evil.txt", "C:/evil.txt", "a\\..\\..\\b"])
@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_names_that_lead_out_are_refused(name: str, pack, tmp_path: Path) -> None:
    packed = tmp_path / "evil.archive.zip"
    packed.write_bytes(pack({"good.txt": b"g", name: b"x"}))
    with pytest.raises(DataError, match=r"evil\.archive\.zip: member .* points out of the archive") as caught:
        Source.open(packed)
    assert "\n" not in str(caught.value)


def test_windows_separators_and_dots_are_put_right(tmp_path: Path) -> None:
    packed = tmp_path / "set.zip"
    packed.write_bytes(zip_of({"a\\b.txt": b"1", "./c.txt": b"2"}))
    with Source.open(packed) as files:
        assert {name: files.read(name) for name in files.names()} == {"a/b.txt": b"1", "c.txt": b"2"}


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (link("a.jpg", "/etc/passwd"), "leads out"),
        (link("a/b.jpg", "../../secret"), "leads out"),
        (link("a.jpg", "../secret", tarfile.LNKTYPE), "leads out"),
        (link("null", "", tarfile.CHRTYPE), "device or pipe"),
        (link("pipe", "", tarfile.FIFOTYPE), "device or pipe"),
    ],
)
def test_links_and_devices_in_tars(member: tarfile.TarInfo, message: str, tmp_path: Path) -> None:
    packed = tmp_path / "set.tar"
    packed.write_bytes(tar_of({"good.txt": b"g"}, "w", member))
    with pytest.raises(DataError, match=message):
        Source.open(packed)


def test_a_link_inside_a_tar_is_not_a_file(tmp_path: Path) -> None:
    packed = tmp_path / "set.tar"
    packed.write_bytes(tar_of({"a.jpg": b"a"}, "w", link("b.jpg", "a.jpg")))
    with Source.open(packed) as files:
        assert files.names() == ["a.jpg"]


def test_links_in_folders(write_source, tmp_path: Path) -> None:
    root = write_source({"gt/a.txt": b"a"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "img_1.jpg").write_bytes(b"image")
    (root / "images").symlink_to(elsewhere)
    (root / "gt/same.txt").symlink_to(root / "gt/a.txt")
    (root / "circle").symlink_to(root)
    with Source.open(root) as files:
        assert files.names() == ["gt/a.txt", "gt/same.txt", "images/img_1.jpg"]
    (root / "gt/out.txt").symlink_to(elsewhere / "img_1.jpg")
    with pytest.raises(DataError, match=r"gt/out\.txt: the link leads out of the folder"):
        Source.open(root)


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "FREE_TOTAL_BYTES", 10_000)
    zeros = bytes(3 * archive.FREE_BYTES)
    for name, content in {
        "one.zip": zip_of({"a.txt": zeros}),
        "many.zip": zip_of({f"{i}.txt": zeros[: archive.FREE_BYTES] for i in range(9)}),
        "one.tar.gz": tar_of({"a.txt": zeros}, "w:gz"),
    }.items():
        packed = tmp_path / name
        packed.write_bytes(content)
        with pytest.raises(DataError, match=r"times its size \(refused"):
            Source.open(packed)


def test_a_size_that_lies(tmp_path: Path) -> None:
    """A header that states less than comes out: never more than stated is read."""
    content = bytearray(zip_of({"a.txt": bytes(5000)}))
    directory = content.index(b"PK\x01\x02")
    struct.pack_into("<L", content, directory + 24, 10)
    packed = tmp_path / "lie.zip"
    packed.write_bytes(content)
    with Source.open(packed) as files, pytest.raises(DataError, match=r"a\.txt: damaged"):
        files.read("a.txt")


def test_a_file_of_unreasonable_size(write_source, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_source({"a.txt": b"x" * 100, "a.json": b"x" * 100, "a.jpg": b"x" * 100})
    for constant in ("MAX_TEXT_BYTES", "MAX_TABLE_BYTES", "MAX_IMAGE_BYTES"):
        monkeypatch.setattr(source, constant, 99)
    with Source.open(root) as files:
        for name in files.names():
            with pytest.raises(DataError, match="more than the"):
                files.read(name)


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_damaged_archives(name: str, damage: str, tmp_path: Path) -> None:
    good = PACKERS[name]({"a.txt": bytes(range(256)) * 40, "b.txt": b"b" * 4000})
    packed = tmp_path / name
    packed.write_bytes({"empty": b"", "cut": good[: len(good) // 2], "noise": b"not an archive" * 100}[damage])
    with pytest.raises(DataError, match=name), Source.open(packed) as files:
        for inner in files.names():
            files.read(inner)


def test_equal_names_and_encryption(tmp_path: Path) -> None:
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as target, pytest.warns(UserWarning, match="Duplicate"):
        target.writestr("a.txt", b"1")
        target.writestr("a.txt", b"2")
    with pytest.raises(DataError, match="occurs twice"):
        Source.open(packed)
    content = bytearray(zip_of({"a.txt": b"1"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    packed.write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        Source.open(packed)


def test_a_source_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "labels.txt").write_text("x")
    for name, message in {"none": "no such file", "empty": "no files in it", "labels.txt": "neither a folder"}.items():
        with pytest.raises(DataError, match=message):
            Source.open(tmp_path / name)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbf377,117\r\nx", "377,117\nx"),
        ("żółw".encode("utf-16"), "żółw"),
        ("caf\u00e9".encode("latin-1"), "café"),
        ("中文".encode(), "中文"),
        (b"a\rb\r\nc", "a\nb\nc"),
        (b"", ""),
    ],
)
def test_decode_text(data: bytes, text: str) -> None:
    assert decode_text(data) == text


def test_decode_text_gbk_only_if_asked() -> None:
    assert decode_text("中文".encode("gbk"), chinese=True) == "中文"
    assert decode_text("中文".encode("gbk")) == "ÖÐÎÄ"
