/** Who can end the trouble: Spoor by trying again, or a person. */
export type Retry = 'auto' | 'operator';

export interface ErrorEntry {
  readonly retry: Retry;
  readonly httpStatus: number;
  /** What a person does about it, one sentence. */
  readonly remedy: string;
}

/** Every code that Spoor can show. docs/errors.md is held against this table by a test. */
export const ERRORS = {
  SPOOR_WAL_GAP: {
    retry: 'auto',
    httpStatus: 409,
    remedy:
      'The log before the wanted position is gone on every replica. Spoor reads what is missing from the table by itself; with SPOOR_GAP_REPAIR=manual ask for it: spoor streams resync <stream> --from gap.',
  },
  SPOOR_SNAPSHOT_TOO_OLD: {
    retry: 'auto',
    httpStatus: 503,
    remedy:
      'A copy took longer than the table keeps its history (tablet_history_max_age_sec). Spoor begins a new one by itself; give it more rows a second, or the table more history.',
  },
  SPOOR_IMAGE_LOST: {
    retry: 'operator',
    httpStatus: 409,
    remedy:
      "Rows cannot be made whole: the table's history no longer reaches back to the operation that changed them (tablet_history_max_age_sec). Copy the tablet anew: spoor streams resync <stream> --tablet <tablet>.",
  },
  SPOOR_WAL_CORRUPT: {
    retry: 'operator',
    httpStatus: 500,
    remedy:
      'The tablet server wrote bytes that do not check, or the disk changed them. Look at the file and byte that the message names.',
  },
  SPOOR_WAL_UNSUPPORTED: {
    retry: 'operator',
    httpStatus: 501,
    remedy:
      'The log holds something that this version of Spoor does not know. The message says what; look for a newer version.',
  },
  SPOOR_WAL_ENCRYPTED: {
    retry: 'operator',
    httpStatus: 501,
    remedy:
      'The tablet server encrypts its data at rest, and the key cannot be had here: the message says why. Spoor reads what Kudu encrypts with keys of its default provider (--encryption_key_provider=default), and no other.',
  },
  SPOOR_WAL_DIVERGED: {
    retry: 'operator',
    httpStatus: 409,
    remedy:
      'The log holds another operation at a position that was already shipped (power loss or unsafe repair). Delete the stream and create it anew.',
  },
  SPOOR_TRANSACTION_UNSUPPORTED: {
    retry: 'operator',
    httpStatus: 501,
    remedy:
      'The tablet has a multi-row transaction, which Spoor cannot ship yet. Its rows are not shipped early; the tablet stays blocked.',
  },
  SPOOR_WAL_UNREADABLE: {
    retry: 'auto',
    httpStatus: 503,
    remedy:
      "Spoor could not read the log. It must run as the tablet server's own user and see its --fs_wal_dir, and be allowed enough open files (LimitNOFILE, ulimit -n); it tries again by itself.",
  },
  SPOOR_SELECTION: {
    retry: 'operator',
    httpStatus: 409,
    remedy:
      'What the stream asks of a table (columns, where, partitionBy) cannot be had of it as it is there: the message says what. Change columns with a PATCH of the stream, or the table; where a row image is missing, a resync mends it.',
  },
  SPOOR_SINK_UNAVAILABLE: {
    retry: 'auto',
    httpStatus: 503,
    remedy:
      'The sink cannot be reached or does not answer in time. Look at what the message names: start it, or mend its address or the network. Spoor tries again by itself and goes on where it stopped.',
  },
  SPOOR_SINK_REFUSED: {
    retry: 'auto',
    httpStatus: 503,
    remedy:
      'The sink answered no: the message says what a person must do (create the topic, grant the right). Spoor then goes on by itself.',
  },
  SPOOR_NOT_ENCODABLE: {
    retry: 'operator',
    httpStatus: 409,
    remedy:
      "The stream's format has no way to write what the table has there; the message names the operation and the column. A resync ships the rows as they are now; else change the rows, or take another format.",
  },
  SPOOR_KUDU_UNAVAILABLE: {
    retry: 'auto',
    httpStatus: 503,
    remedy: 'Kudu did not answer in time. Look at its masters and tablet servers; ask again later.',
  },
  SPOOR_KUDU_REFUSED: {
    retry: 'operator',
    httpStatus: 502,
    remedy:
      'Kudu answered no, and will answer the same again: the message says which call, where and why. What to do depends on that.',
  },
  SPOOR_KERBEROS_MISSING: {
    retry: 'operator',
    httpStatus: 503,
    remedy:
      "Kerberos is spoken through the npm package koffi and the system's libgssapi_krb5.so.2; the message says which is missing. Install it (npm install koffi; Debian, Ubuntu: apt-get install libgssapi-krb5-2; Red Hat, Alpine: krb5-libs).",
  },
  SPOOR_KUDU_LOGIN: {
    retry: 'auto',
    httpStatus: 503,
    remedy:
      'Spoor could not prove to Kudu who it is: the message says why. Look at SPOOR_KUDU_KEYTAB, SPOOR_KUDU_PRINCIPAL, SPOOR_KUDU_JWT, the Kerberos configuration (KRB5_CONFIG) and the KDC; Spoor tries again by itself.',
  },
  SPOOR_KUDU_INSECURE: {
    retry: 'operator',
    httpStatus: 502,
    remedy:
      'Spoor does not go on with that server: SPOOR_KUDU_AUTH, SPOOR_KUDU_ENCRYPTION and SPOOR_KUDU_CA say what is wanted of it, the message says what it is. Change these, or the --rpc_encryption, --rpc_authentication and certificates of the server.',
  },
  SPOOR_INTERNAL: {
    retry: 'auto',
    httpStatus: 500,
    remedy:
      'Spoor itself failed at this tablet, and at no other. It tries again by itself; report it with the log line of that moment.',
  },
  SPOOR_NOT_SUPPORTED: {
    retry: 'operator',
    httpStatus: 501,
    remedy: 'This version of Spoor does not do that yet. The message says what; docs/operations.md says what there is.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** An error with a code of the table above. The code decides retry, HTTP status and remedy; never branch on the text. */
export class SpoorError extends Error {
  override readonly name = 'SpoorError';
  readonly code: ErrorCode;
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, fields: Readonly<Record<string, unknown>> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.fields = fields;
  }

  /** What a person does about it. */
  get remedy(): string {
    return ERRORS[this.code].remedy;
  }
}
