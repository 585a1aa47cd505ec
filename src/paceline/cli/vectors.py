"""`paceline vectors`: collections of vectors, on a running server or in a folder."""

from __future__ import annotations

from cyclopts import App

SUBCOMMANDS = {
    "list": ("vectors_collections:listing", "List the collections."),
    "create": ("vectors_collections:create", "Make a collection."),
    "describe": ("vectors_collections:describe", "Show what is in a collection."),
    "drop": ("vectors_collections:drop", "Delete a collection and all its records."),
    "load": ("vectors_load:load", "Load a file of vectors or texts; goes on where it was interrupted."),
    "query": ("vectors_query:query", "Find the records nearest to a vector, a text or a record."),
    "fetch": ("vectors_records:fetch", "Print records by id."),
    "ids": ("vectors_records:ids", "Print ids."),
    "update": ("vectors_records:update", "Change a record's vector or metadata."),
    "delete": ("vectors_records:delete", "Delete records by id, by filter, or a namespace."),
    "tune": ("vectors_tune:tune", "Find the quickest setting that holds a recall."),
    "compact": ("vectors_care:compact", "Join all of a collection under one graph."),
    "verify": ("vectors_care:verify", "Read all files against their checksums."),
    "precisions": ("vectors_care:precisions", "Measure what each precision would give."),
    "reencode": ("vectors_care:reencode", "Hold the vectors in another precision."),
    "reshard": ("vectors_care:reshard", "Spread a collection over another number of shards."),
    "snapshot": ("vectors_snapshots:snapshot", "Keep a collection as it is now."),
    "snapshots": ("vectors_snapshots:snapshots", "List the snapshots."),
    "restore": ("vectors_snapshots:restore", "Make a collection of a snapshot."),
    "plan": ("vectors_plan:plan", "Tell what a collection would need, before there is one."),
}
"""Where each is below `paceline.cli`, and what it does; imported when it is called."""

command = App(
    name="vectors",
    help="Make, fill, search and look after collections of vectors.",
    help_format="plaintext",
    help_epilogue="Examples:\n\n"
    "    paceline vectors create papers --dimension 384\n"
    "    paceline vectors load papers papers.jsonl --text-field abstract\n"
    '    paceline vectors query papers --text "sleep of fish"\n'
    "    paceline vectors tune papers --recall 0.99\n"
    "    paceline vectors list --folder vectors          without a server\n\n"
    "All but plan ask the server at --url, by default http://127.0.0.1:8080, or open the collections of --folder in "
    "this process. `paceline vectors COMMAND --help` says more about each.",
)
for _name, (_place, _help) in SUBCOMMANDS.items():
    command.command(f"paceline.cli.{_place}", name=_name, help=_help)
