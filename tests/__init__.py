"""The tests. As in the camera's process, a JPEG header cannot ask OpenCV for more memory than 64 megapixels take."""

import os

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))  # OpenCV reads it once, when it is loaded
