"""Uploads a file with tuspy, or goes on with an upload that it began before.

Says "chunk" after each chunk, so that a test can end it in the middle. Arguments: options as JSON.
"""

from __future__ import annotations

import json
import sys
import time

from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

options = json.loads(sys.argv[1])
storage = FileStorage(options["storage"])  # type: ignore[no-untyped-call]
uploader = TusClient(options["endpoint"]).uploader(
    options["file"],
    chunk_size=options["chunkSize"],
    metadata={"filename": options["name"]},
    store_url=True,
    url_storage=storage,
    upload_checksum=True,
)
if uploader.offset:
    print("resumed", flush=True)
size = uploader.get_file_size()  # type: ignore[no-untyped-call]
while uploader.offset < size:
    time.sleep(options["pauseMilliseconds"] / 1000)
    uploader.upload_chunk()  # type: ignore[no-untyped-call]
    print("chunk", flush=True)
print("done", flush=True)
