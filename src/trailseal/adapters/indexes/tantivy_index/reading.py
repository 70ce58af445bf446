"""The folder as searches see it: the newest committed state that is complete."""

from __future__ import annotations

from threading import Lock

import tantivy

from trailseal.adapters.indexes.tantivy_index.folder import FolderState, IndexFolder, translated
from trailseal.adapters.indexes.tantivy_index.paging import View
from trailseal.adapters.indexes.tantivy_index.schema import build_schema
from trailseal.adapters.indexes.tantivy_index.ties import Ties


class Reader:
    """Opens the folder for searching, and anew when it has changed. Safe to use from many threads.

    It shares nothing with the writer, so that no search waits for a put or a commit.
    """

    def __init__(self, folder: IndexFolder) -> None:
        self._folder = folder
        self._schema = build_schema()
        self._lock = Lock()
        self._index: tantivy.Index | None = None
        self._view: View | None = None
        self._state: FolderState | None = None
        self._ties = Ties()
        self._generation = 0

    def view(self) -> View | None:
        """What is committed now; None where the folder is missing, not complete, or unreadable.

        Raises:
            Unavailable: it may be readable later.
        """
        with self._lock:
            state = self._folder.state()
            if state is None or not self._folder.is_marked():
                self._forget()
            elif self._view is None or state != self._state:
                self._view = self._look(state)
                self._state = state
            return self._view

    def forget(self) -> None:
        """Let go of everything opened."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._index = self._view = self._state = None
        self._ties = Ties()

    def _look(self, state: FolderState) -> View | None:
        if self._state is not None and self._state.folder != state.folder:
            self._forget()
        if self._index is None:
            self._index = self._folder.open()
        if self._index is None:
            return None
        try:
            with translated("be read"):
                self._index.reload()
                self._generation += 1
                searcher = self._index.searcher()
                return View(self._index, self._schema, searcher, self._ties, self._generation)
        except BaseException:
            self._index = self._view = None
            raise
