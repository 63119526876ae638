"""Segments: files in which the bytes of large contents are written once, beside the database.

A segment is an SQLite database of one table, `chunk_data`, as the main database has one. One upload
writes it, without a log and unseen by everybody else. Once it is sealed, it is synced and never
changes again. Then the main database is told of its chunks, and readers open it as immutable. So
each byte is written once, uploads write beside each other, and no checkpoint copies their bytes.

What lives where: `states` says what becomes of a segment, `folder` where its file is, `writing` and
`reading` do what they say, and `compaction` chooses what is worth to be rewritten.
"""
