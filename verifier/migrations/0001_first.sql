-- What the service remembers. Times are milliseconds since 1970 in UTC; digests and identities are raw bytes. Everything
-- that a second database would have to do differently is in src/store/sqlite/, not here.

-- One row a machine: who it is, what the tenant asked for, how it stands, and when it is asked next.
CREATE TABLE agents (
    uuid            TEXT    NOT NULL PRIMARY KEY,
    -- The fence: whoever changes the row raises it, and a report of an older one is refused.
    generation      INTEGER NOT NULL,

    -- Who it is: what registration proved. NULL until it registered.
    ak              BLOB,
    ek              BLOB,
    ek_certificate  BLOB,
    ek_sha256       BLOB,
    tls_certificate BLOB,
    identity        TEXT,
    registered_at   INTEGER,

    -- What the tenant asked for. NULL until it is provisioned.
    address         TEXT,
    protocol        TEXT,
    policy          BLOB    REFERENCES policies (identity),
    policy_name     TEXT,
    interval_ms     INTEGER,
    keep_polling    INTEGER NOT NULL DEFAULT 0,
    named_ek_sha256 BLOB,
    trust_first     INTEGER NOT NULL DEFAULT 0,
    provisioned_at  INTEGER,

    -- How it stands, since when and why, and the digest of the evidence that says so.
    state           TEXT    NOT NULL,
    since           INTEGER NOT NULL,
    reason          TEXT    NOT NULL,
    detail          TEXT    NOT NULL,
    evidence        BLOB,

    -- Where the next appraisal goes on, and what the last one that could be believed said.
    checkpoint      BLOB,
    reset_count     INTEGER,
    restart_count   INTEGER,
    tpm_clock       INTEGER,
    tpm_clock_safe  INTEGER,
    entries         INTEGER NOT NULL DEFAULT 0,
    -- Entries seen, the tail included: the next quote has to cover them.
    seen            INTEGER NOT NULL DEFAULT 0,
    counts          TEXT    NOT NULL DEFAULT '{}',
    boot_state      TEXT,
    attested_at     INTEGER,
    contact_at      INTEGER,
    lagging_since   INTEGER,
    -- Polls in a row that came to nothing.
    failures        INTEGER NOT NULL DEFAULT 0,
    findings        INTEGER NOT NULL DEFAULT 0,

    -- When it is asked next. NULL: it is not.
    due             INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX agents_due ON agents (due) WHERE due IS NOT NULL;
CREATE INDEX agents_state ON agents (state, uuid);
CREATE INDEX agents_policy ON agents (policy, uuid);

-- Registrations whose activation tag is still to come. They stand for nothing, and expire.
CREATE TABLE registrations (
    id              INTEGER PRIMARY KEY,
    uuid            TEXT    NOT NULL,
    source          TEXT    NOT NULL,
    ak              BLOB    NOT NULL,
    ek              BLOB    NOT NULL,
    ek_certificate  BLOB,
    ek_sha256       BLOB    NOT NULL,
    tls_certificate BLOB,
    -- Whether a chain to a trusted authority was found for the certificate.
    certified       INTEGER NOT NULL,
    tag             BLOB    NOT NULL,
    created         INTEGER NOT NULL,
    expires         INTEGER NOT NULL
) STRICT;

CREATE INDEX registrations_uuid ON registrations (uuid, source);
CREATE INDEX registrations_source ON registrations (source);
CREATE INDEX registrations_expires ON registrations (expires);

-- What became of each machine, in order.
CREATE TABLE events (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid            TEXT    NOT NULL,
    at              INTEGER NOT NULL,
    event           TEXT    NOT NULL,
    from_state      TEXT,
    to_state        TEXT    NOT NULL,
    reason          TEXT    NOT NULL,
    detail          TEXT    NOT NULL,
    evidence        BLOB,
    -- The time for which nothing is known, of a reboot: from the last believed quote to this one.
    blind_from      INTEGER,
    blind_until     INTEGER
) STRICT;

CREATE INDEX events_uuid ON events (uuid, id);

-- Why a machine is rejected: findings of the appraisal that its state comes from, the first of them.
CREATE TABLE findings (
    uuid            TEXT    NOT NULL,
    number          INTEGER NOT NULL,
    entry           INTEGER,
    word            TEXT    NOT NULL,
    name            BLOB,
    found           TEXT,
    -- A JSON array of digests.
    expected        TEXT    NOT NULL,
    text            TEXT    NOT NULL,
    -- When the machine was first rejected for this path with this digest.
    first_seen      INTEGER NOT NULL,
    PRIMARY KEY (uuid, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX findings_name ON findings (word, name, found);

-- Sealed whitelists, byte for byte. Their seals are verified again at every load.
CREATE TABLE policies (
    identity        BLOB    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    created         TEXT    NOT NULL,
    expires         TEXT    NOT NULL,
    entries         INTEGER NOT NULL,
    size            INTEGER NOT NULL,
    signers         TEXT    NOT NULL,
    uploaded_at     INTEGER NOT NULL,
    uploaded_by     TEXT    NOT NULL,
    bytes           BLOB    NOT NULL
) STRICT;

CREATE INDEX policies_name ON policies (name, version);

-- What was accepted so far (docs/format.md, Trust state). One row.
CREATE TABLE trust (
    id              INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    -- Which database this is, and how often its trust has changed: held against the mark beside the database.
    database        BLOB    NOT NULL,
    mark            INTEGER NOT NULL,
    state           BLOB    NOT NULL,
    -- The trust root that is followed, as a file; NULL with keys alone.
    root            BLOB
) STRICT;

-- Who decided what.
CREATE TABLE audit (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    at              INTEGER NOT NULL,
    actor           TEXT    NOT NULL,
    action          TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    detail          TEXT    NOT NULL
) STRICT;
