import { createHash } from 'node:crypto';

/** One entry as `kudu wal dump` prints it; numbers that JSON cannot hold are strings. */
export type DumpedEntry =
  | {
      readonly kind: 'replicate';
      readonly opId: string;
      readonly op: string;
      readonly hybridTime: string;
      /** RowOperationsPB of a WRITE_OP: {@link digest} of its rows and of its indirect data. */
      readonly rows?: string;
      readonly indirect?: string;
      /** Of an ALTER_SCHEMA_OP. */
      readonly schemaVersion?: number;
      readonly tableName?: string;
      readonly columns?: readonly string[];
      readonly txnId?: string;
    }
  | {
      readonly kind: 'commit';
      readonly opId: string;
      readonly op: string;
      /** One character a row operation: 1 applied, 0 not. */
      readonly results?: string;
    };

/** A message in protobuf's text format: every field a list of texts or messages. */
interface TextMessage {
  readonly [field: string]: readonly (string | TextMessage)[];
}

/**
 * Reads what `kudu wal dump --print_entries=pb` prints: Kudu's own reading of a segment, as an oracle for ours. What
 * follows the last entry (a footer, an error about an unfinished batch) is passed over.
 */
export function readKuduDump(output: string): readonly DumpedEntry[] {
  return output
    .split(/^Entry:$/m)
    .slice(1)
    .map((text) => describe(parseText(text.split(/^(?:Footer:|Corruption|IO error)/m, 1)[0]!)));
}

function describe(entry: TextMessage): DumpedEntry {
  const replicate = first(entry, 'replicate');
  if (replicate !== null) {
    const write = first(replicate, 'write_request');
    const alter = first(replicate, 'alter_schema_request');
    const txnId = write === null ? null : text(write, 'txn_id');
    const rows = write === null ? null : first(write, 'row_operations');
    return {
      kind: 'replicate',
      opId: opId(first(replicate, 'id')!),
      op: text(replicate, 'op_type')!,
      hybridTime: text(replicate, 'timestamp')!,
      ...(rows === null ? {} : { rows: bytes(text(rows, 'rows')), indirect: bytes(text(rows, 'indirect_data')) }),
      ...(txnId === null ? {} : { txnId }),
      ...(alter === null
        ? {}
        : {
            schemaVersion: Number(text(alter, 'schema_version')),
            tableName: unescape(text(alter, 'new_table_name')!).toString(),
            columns: all(first(alter, 'schema')!, 'columns').map(
              (column) => `${text(column, 'id')} ${unescape(text(column, 'name')!).toString()}`,
            ),
          }),
    };
  }
  const commit = first(entry, 'commit')!;
  const result = first(commit, 'result');
  return {
    kind: 'commit',
    opId: opId(first(commit, 'commited_op_id')!),
    op: text(commit, 'op_type')!,
    ...(result === null
      ? {}
      : {
          results: all(result, 'ops')
            .map((op) => ('mutated_stores' in op && !('failed_status' in op) ? '1' : '0'))
            .join(''),
        }),
  };
}

function parseText(source: string): TextMessage {
  const stack: Record<string, (string | TextMessage)[]>[] = [{}];
  for (const line of source.split('\n')) {
    const top = stack.at(-1)!;
    const open = /^\s*([\w.[\]]+) \{$/.exec(line);
    const value = /^\s*([\w.]+): (.*)$/.exec(line);
    if (open) {
      const child = {};
      (top[open[1]!] ??= []).push(child);
      stack.push(child);
    } else if (/^\s*\}$/.test(line)) stack.pop();
    else if (value) (top[value[1]!] ??= []).push(value[2]!);
  }
  return stack[0]!;
}

function all(message: TextMessage, field: string): readonly TextMessage[] {
  return (message[field] ?? []).filter((value) => typeof value !== 'string');
}

function first(message: TextMessage, field: string): TextMessage | null {
  return all(message, field)[0] ?? null;
}

function text(message: TextMessage, field: string): string | null {
  const value = message[field]?.[0];
  return typeof value === 'string' ? value : null;
}

function opId(message: TextMessage): string {
  return `${text(message, 'term')}.${text(message, 'index')}`;
}

/** Length and hash, so that expectations stay small: `26:5f1d...`. */
export function digest(bytes: Buffer): string {
  return `${bytes.length}:${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}`;
}

function bytes(quoted: string | null): string {
  return digest(quoted === null ? Buffer.alloc(0) : unescape(quoted));
}

/** A quoted string of the text format: C escapes, octal ones of three digits. Kudu 1.18 prints long ones twice over: `"..."""..."`. */
function unescape(quoted: string): Buffer {
  const out: number[] = [];
  const inner = /^"((?:[^"\\]|\\.)*)"/.exec(quoted)?.[1] ?? '';
  for (let i = 0; i < inner.length; i++) {
    if (inner[i] !== '\\') {
      out.push(inner.charCodeAt(i));
      continue;
    }
    const octal = /^[0-7]{3}/.exec(inner.slice(i + 1, i + 4))?.[0];
    if (octal !== undefined) {
      out.push(parseInt(octal, 8));
      i += 3;
    } else {
      const letter = inner[++i]!;
      out.push({ n: 10, r: 13, t: 9 }[letter] ?? letter.charCodeAt(0));
    }
  }
  return Buffer.from(out);
}
