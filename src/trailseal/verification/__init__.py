"""Verification: what is stored against what was sealed, and what was sealed against what was signed.

    suspicions   what can be found, by name, with position and event
    trust        whose word counts: the log's keys, the witnesses, checkpoints that an auditor kept
    signatures   a tree against the checkpoints that were signed of it
    records      the log's records against the leaves of their offsets
    orders       removed records against the signed orders of their removal
    claims       the ledger's outcome rows and the index's documents against the records
    result       what is asked for, and what came of it
    whole        all of it, one partition after the other, in a stream
    shown        the event beside a record in an evidence file against the record
    files        receipts and evidence files, offline
    standalone   a second verifier in one file that shares no code with all this, to be handed out

Nothing here writes; nothing here believes what it can check.
"""
