"""The book itself: an SQLite file that both services open."""

import os
import sqlite3
import time


def opened():
    """The book, made if it is not there yet."""
    book = sqlite3.connect(os.environ["DATABASE"], timeout=10, isolation_level=None)
    book.execute("PRAGMA journal_mode = WAL")
    book.execute(
        "CREATE TABLE IF NOT EXISTS entries ("
        " id INTEGER PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL,"
        " written REAL NOT NULL, words INTEGER)"
    )
    return book


def add(book, name, text):
    """Write an entry."""
    book.execute(
        "INSERT INTO entries (name, text, written) VALUES (?, ?, ?)", (name, text, time.time())
    )


def newest(book, limit=50):
    """The newest entries: (name, text, written, words or None)."""
    return book.execute(
        "SELECT name, text, written, words FROM entries ORDER BY id DESC LIMIT ?", (limit,)
    ).fetchall()


def count_words(book):
    """Count the words of entries that nobody has counted yet; returns how many there were."""
    waiting = book.execute("SELECT id, text FROM entries WHERE words IS NULL").fetchall()
    for number, text in waiting:
        book.execute("UPDATE entries SET words = ? WHERE id = ?", (len(text.split()), number))
    return len(waiting)
