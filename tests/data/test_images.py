import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from fasttcm.data.images import find_images, image_size, read_image
from fasttcm.errors import ImageError

RED, GREEN = (200, 10, 20), (10, 180, 30)


def picture() -> Image.Image:
    """A red picture, 6 wide and 4 high, with a green top-left pixel."""
    image = Image.new("RGB", (6, 4), RED)
    image.putpixel((0, 0), GREEN)
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_rgb_is_kept_exactly_from_path_bytes_and_file(tmp_path: Path) -> None:
    data = encoded(picture())
    (tmp_path / "a.png").write_bytes(data)
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), data, io.BytesIO(data)):
        pixels = read_image(source)
        assert pixels.shape == (4, 6, 3) and pixels.dtype == np.uint8 and pixels.flags.writeable
        assert tuple(pixels[0, 0]) == GREEN and (pixels[1:] == RED).all()


def test_grayscale_repeats_its_value() -> None:
    assert (read_image(encoded(Image.new("L", (3, 2), 77))) == 77).all()


def test_one_bit_becomes_black_and_white() -> None:
    image = Image.new("1", (2, 1), 0)
    image.putpixel((1, 0), 1)
    assert read_image(encoded(image))[0, :, 0].tolist() == [0, 255]


def test_palette_gives_its_colours() -> None:
    assert tuple(read_image(encoded(picture().convert("P", palette=Image.Palette.ADAPTIVE)))[0, 0]) == GREEN


def test_transparent_palette_entry_is_white() -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((1, 0), 1)
    assert read_image(encoded(image, transparency=0))[0].tolist() == [[255, 255, 255], [10, 20, 30]]


@pytest.mark.parametrize(("alpha", "expected"), [(0, 255), (255, 100), (51, 224)])
def test_alpha_is_composited_on_white(alpha: int, expected: int) -> None:
    assert (read_image(encoded(Image.new("RGBA", (3, 2), (100, 100, 100, alpha)))) == expected).all()
    assert (read_image(encoded(Image.new("LA", (3, 2), (100, alpha)))) == expected).all()


def test_colour_key_transparency_is_white() -> None:
    pixels = read_image(encoded(picture(), transparency=GREEN))
    assert tuple(pixels[0, 0]) == (255, 255, 255) and tuple(pixels[1, 1]) == RED


def test_cmyk_jpeg_is_converted() -> None:
    pixels = read_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert pixels[4, 4, 0] > 240 and pixels[4, 4, 1:].max() < 15


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_gray_is_scaled_not_cut(kind: str) -> None:
    values = np.asarray([[0, 257, 128 * 257, 65535]], np.uint16)
    assert read_image(encoded(Image.fromarray(values), kind))[0, :, 1].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 100.0, 255.0], [0, 100, 255]), ([0.0, 25700.0, 65535.0], [0, 100, 255])],
)
def test_float_images_are_scaled_by_their_range(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.asarray([values], np.float32))
    assert read_image(encoded(image, "TIFF"))[0, :, 0].tolist() == expected


def test_first_frame_of_several_is_taken() -> None:
    frames = [Image.new("RGB", (5, 5), colour) for colour in (RED, GREEN)]
    for kind in ("GIF", "TIFF"):
        pixels = read_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert abs(pixels.astype(int) - RED).max() <= 4


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (4, 6, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encoded(Image.fromarray(noise), kind, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(read_image(data), np.asarray(upright))
    assert image_size(data) == (upright.height, upright.width)
    if kind != "TIFF":
        assert read_image(data, apply_exif=False).shape == (32, 48, 3)


def test_nonsensical_exif_counts_as_upright() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 77
    assert read_image(encoded(picture(), exif=exif)).shape == (4, 6, 3)


def test_one_pixel() -> None:
    assert read_image(encoded(Image.new("RGB", (1, 1), RED))).tolist() == [[list(RED)]]


@pytest.mark.parametrize("cut", [0.3, 0.7])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_truncated_file_is_an_error_of_one_line(tmp_path: Path, kind: str, cut: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    path = tmp_path / "cut.img"
    path.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(ImageError, match=r"cut\.img: ") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_flipped_bytes_never_escape_as_another_error() -> None:
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP"):
        data = bytearray(encoded(picture().resize((40, 30)), kind))
        for _ in range(60):
            broken = bytearray(data)
            for place in rng.integers(0, len(data), 3):
                broken[place] = int(rng.integers(256))
            try:
                pixels = read_image(bytes(broken), max_pixels=1_000_000)
            except ImageError:
                continue
            assert pixels.shape[2] == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"this is no image", "not an image"), (b"%!PS-Adobe-3.0 EPSF", "not an image")],
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"x\.jpg: .*{reason}"):
        read_image(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="not a file"):
        read_image(tmp_path)


def test_decompression_bomb_is_refused_before_decoding() -> None:
    bomb = encoded(Image.new("1", (20000, 5001)))
    with pytest.raises(ImageError, match="20000 x 5001 pixels, more than the limit of 100000000"):
        read_image(bomb)
    with pytest.raises(ImageError, match="decompression bomb"):
        read_image(encoded(Image.new("1", (20000, 20000))))


def test_sixty_megapixels_work_in_bounded_memory() -> None:
    data = encoded(Image.new("L", (10000, 6000), 50), compress_level=1)
    tracemalloc.start()
    pixels = read_image(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pixels.shape == (6000, 10000, 3) and pixels[5999, 9999, 2] == 50
    assert peak < 1.3 * pixels.nbytes  # strips, not a second picture


def test_find_images_in_folders_patterns_and_files(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "sub/c.webp", "sub/notes.txt", ".hidden.png", "odd.dat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    everything = [tmp_path / "a.png", tmp_path / "b.JPG", tmp_path / "sub" / "c.webp"]
    assert find_images([tmp_path]) == everything
    assert find_images([str(tmp_path / "*"), tmp_path / "a.png"]) == everything
    assert find_images([str(tmp_path / "**" / "*.webp")]) == everything[2:]
    assert find_images([tmp_path / "odd.dat"]) == [tmp_path / "odd.dat"]


def test_find_images_names_what_matches_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no image in this folder"):
        find_images([tmp_path])
    with pytest.raises(ImageError, match=r"\*\.bmp: no such file, and no image matches"):
        find_images([str(tmp_path / "*.bmp")])


def test_a_file_name_with_brackets_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "photo[1].jpg").write_bytes(b"x")
    assert find_images([tmp_path / "photo[1].jpg"]) == [tmp_path / "photo[1].jpg"]
