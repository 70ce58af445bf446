"""Verification: what is stored against what was sealed, and what was sealed against what was signed.

What is asked for and what is told:
    result         what is asked for, and what came of it
    suspicions     what can be found, by name, with position and event
    trust          whose word counts: the log's keys, the witnesses, checkpoints that an auditor kept

Signatures against trees:
    signatures     a tree against the checkpoints that were signed of it
    links, known   logs that continue others: how those ended
    unsigned       what no signature covers, and since when

Trees against what is stored:
    reading        the log's records, and what is left of those that it forgot
    records        records against the leaves of their offsets; differing: what those that differ are called
    claims         the ledger's outcome rows against the records
    orders         removed records against the signed orders of their removal (genuine_orders)
    documents      what searches find against the records
    unexplained    records of which only rows say why they are gone or not found
    ends, heads, inventory, coverage
                   what stands outside of what the heads say, and what nobody's check looked at

All of it:
    partition      one partition; asked: a part of it
    whole          one partition after the other, in a stream, those of ended logs among them
    files          receipts and evidence files, offline; shown: the event beside a record against it
    backups        a backup before it is restored
    standalone     a second verifier in one file that shares no code with all this, to be handed out

Nothing here writes; nothing here believes what it can check.
"""
