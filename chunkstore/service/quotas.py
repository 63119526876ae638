"""Refusing early what a quota would refuse at the commit, and telling no more than may be known.

What is asked here is advice: it spares sending in vain, and the commit decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from chunkstore.core.access import Verbs
from chunkstore.core.errors import QuotaExceeded, StoreDamaged
from chunkstore.core.names import FileName, FolderName
from chunkstore.service.rights import Rights
from chunkstore.service.room import NO_BOUND, Room
from chunkstore.store.contract.names import Names
from chunkstore.store.contract.quotas import NO_USAGE, Quotas, Usage


async def find_room(names: Names, quotas: Quotas, name: FileName, rights: Rights) -> Room:
    """Return how large a file of a name may become."""
    covering = await quotas.covering(name)
    if not covering:
        return NO_BOUND
    old = NO_USAGE
    if rights.is_open or not rights.drops(name):
        try:
            file = await names.find(name)
        except StoreDamaged:
            # What it counts for is not known.
            return NO_BOUND
        if file is not None:
            old = Usage(file.size, 1)
    return Room(covering, old, partial(telling, rights))


@contextmanager
def telling(rights: Rights) -> Iterator[None]:
    """Tell figures of a quota only to those who may list all that they count."""
    try:
        yield
    except QuotaExceeded as error:
        if error.folder is None or may_know_usage(rights, FolderName(error.folder)):
            raise
        plain = error.without_figures()
    else:
        return
    raise plain


def may_know_usage(rights: Rights, folder: FolderName) -> bool:
    """Whether somebody may know what a folder uses: then nothing in it is hidden from them."""
    if rights.is_open:
        return True
    return Verbs.LIST in rights.access.verbs(folder) & rights.access.everywhere(folder)
