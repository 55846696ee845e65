import type { ColumnSchema } from '../kudu/schema.ts';
import type { DecodedRecord, EncodedRecord, RecordCells, RecordDecoder, TombstoneRecord } from './decoder.ts';
import { EnvelopeRow, MemberCells, type Envelope, type Images } from './envelope-row.ts';
import { objectOf, textOf } from './json-members.ts';
import { decodeJsonSchema } from './json-schema-decode.ts';
import { jsonLayout, type JsonLayout } from './json-definition.ts';
import { ValueReader } from './json-value-decode.ts';
import { parseRawJson, type RawObject } from './raw-json.ts';

/** Reads what json.ts writes. @param images of the stream: whether an `after` that is not marked as partial is a whole row */
export function jsonDecoder(streamName: string, images: Images = 'changed', layout: JsonLayout = PLAIN): RecordDecoder {
  const values = new ValueReader(layout);
  const stream = { name: streamName, images, isBlock: layout.schema === 'block', values };
  return {
    decode: (record) => decode(record, stream),
    decodeSchema: ({ value }) => (value === null ? null : decodeJsonSchema(value)),
    canonical: (column, text) => values.canonical(column, text),
    shown: (type, value) => values.shown(type, value),
  };
}

const PLAIN = jsonLayout({ type: 'json' });

/** How the records of a stream are written. */
interface StreamForm {
  readonly name: string;
  readonly images: Images;
  /** Keys and values are payloads beside their schemas. */
  readonly isBlock: boolean;
  readonly values: ValueReader;
}

const MARK: DecodedRecord = { kind: 'mark' };

function decode({ key, value }: EncodedRecord, stream: StreamForm): DecodedRecord {
  if (value === null) return key === null ? MARK : new JsonTombstone(key, stream);
  const text = value.toString();
  const envelope = payloadOf(text, stream);
  if (envelope.has('resolved')) return MARK;
  const source = objectOf(envelope.get('source'));
  if (source.has('name') && textOf(source.get('name')) !== stream.name)
    return { kind: 'foreign', tabletId: textOf(source.get('tablet_id')) };
  const { images, values } = stream;
  const ownKey = (): RawObject | null => key && payloadOf(key.toString(), stream);
  return new JsonRow(key, text, { envelope, source, key: ownKey, images, values, deletesHaveNulls: false });
}

/** What of a key or value is beside its schema, where it has one with it. */
export function payloadOf(text: string, { isBlock }: { readonly isBlock: boolean }): RawObject {
  const json = objectOf(parseRawJson(text));
  return isBlock && json.has('payload') ? objectOf(json.get('payload')) : json;
}

/** An image of ours begins with the key as it is, so most keys need no look into them. */
class JsonRow extends EnvelopeRow {
  readonly #key: Buffer | null;
  readonly #text: string;

  constructor(key: Buffer | null, text: string, of: Envelope) {
    super(of);
    this.#key = key;
    this.#text = text;
  }

  override checkKey(columns: readonly ColumnSchema[]): void {
    if (this.#key === null) return;
    const start = `"${this.imageName}":${this.#key.toString().slice(0, -1)}`;
    const at = this.#text.indexOf(start);
    const next = this.#text[at + start.length];
    if (at >= 0 && (next === ',' || next === '}')) return; // beside a schema it is not looked for
    super.checkKey(columns);
  }
}

class JsonTombstone implements TombstoneRecord {
  readonly kind = 'tombstone';
  readonly #key: Buffer;
  readonly #stream: StreamForm;

  constructor(key: Buffer, stream: StreamForm) {
    this.#key = key;
    this.#stream = stream;
  }

  get cells(): RecordCells {
    return new MemberCells(payloadOf(this.#key.toString(), this.#stream), this.#stream.values);
  }
}
