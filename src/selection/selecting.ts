import { KeyOnly, type Change, type ChangeBatch } from '../change/change.ts';
import { RecordKind, type RecordBatch } from '../change/record-batch.ts';
import { sliceRows } from '../change/slice-rows.ts';
import type { RecordFormat } from '../formats/format.ts';
import type { SelectionDefinition } from './definition.ts';
import { deadLetter, keyOnlyRow, TooLargeRecords } from './oversize.ts';
import { letterOf } from '../formats/op-words.ts';
import { Salts } from './salts.ts';
import { saltFilesOf, Selection } from './selection.ts';

export interface SelectingOptions {
  readonly definition: SelectionDefinition;
  /** Under which name a table is in the stream; undefined where that is not known: then the one that it has. */
  readonly nameOf: (tableId: string) => string | undefined;
}

/**
 * A format that is given what the stream wants of each change, and no more. It also says by what records are placed, and
 * writes those otherwise that the sink found too large.
 */
export function selecting(format: RecordFormat, options: SelectingOptions): RecordFormat {
  if (wantsAll(options.definition)) return format;
  const selecting = new SelectingFormat(format, options);
  const { where, images } = options.definition;
  return {
    // A condition on what a row was has no answer without its image. One on keys alone would have: so much is not known here.
    needsWholeRows: format.needsWholeRows === true || (where !== undefined && images === 'full'),
    prepare: (changes, signal) => selecting.prepare(changes, signal),
    encode: (change, fromRow, out) => selecting.encode(change, fromRow, out),
    tooLarge: (record, reason) => selecting.tooLarge(record, reason),
  };
}

function wantsAll({ columns, where, skipOperations = [], partitionBy, oversize }: SelectionDefinition): boolean {
  const isAll = columns === undefined && where === undefined && skipOperations.length === 0;
  return isAll && partitionBy === 'key' && oversize === 'block';
}

class SelectingFormat {
  readonly #format: RecordFormat;
  readonly #options: SelectingOptions;
  readonly #salts: Salts;
  readonly #tooLarge = new TooLargeRecords();
  #selection: Selection;
  #saltVersion = 0;
  /** Under which name a table was in the stream when that was known last. */
  readonly #names = new Map<string, string>();
  /** A change is encoded in pieces, and prepared before; null: nothing of it is wanted. */
  readonly #selected = new WeakMap<Change, { readonly wanted: Change | null; readonly by: Selection }>();

  constructor(format: RecordFormat, options: SelectingOptions) {
    this.#format = format;
    this.#options = options;
    this.#salts = new Salts(saltFilesOf(options.definition));
    this.#selection = this.#compile();
  }

  /** What does not fit is for {@link encode} to say. */
  async prepare(changes: readonly Change[], signal: AbortSignal): Promise<void> {
    await this.#salts.refresh();
    if (this.#saltVersion !== this.#salts.version) {
      this.#saltVersion = this.#salts.version;
      this.#selection = this.#compile();
    }
    if (!this.#format.prepare) return;
    const selected: Change[] = [];
    for (const change of changes)
      try {
        const { wanted } = this.#select(change);
        if (wanted) selected.push(wanted);
      } catch {
        break;
      }
    await this.#format.prepare(selected, signal);
  }

  encode(change: Change, fromRow: number, out: RecordBatch): number | null {
    const { wanted, by } = this.#select(change);
    if (wanted === null) return null;
    if (wanted.kind !== 'rows') return this.#format.encode(wanted, fromRow, out);
    if (this.#tooLarge.isOf(wanted.tablet.tabletId)) return this.#encodeOneByOne(wanted, by, fromRow, out);
    const start = out.length;
    const next = this.#format.encode(wanted, fromRow, out);
    this.#place(wanted, by, fromRow, out, start);
    return next;
  }

  tooLarge(record: { readonly position: string; readonly key: Buffer }, reason: string): boolean {
    if (this.#options.definition.oversize === 'block') return false;
    return this.#tooLarge.add(record, reason);
  }

  #compile(): Selection {
    return new Selection(this.#options.definition, (file) => this.#salts.of(file));
  }

  #select(change: Change): { readonly wanted: Change | null; readonly by: Selection } {
    let selected = this.#selected.get(change);
    if (!selected) {
      const by = this.#selection;
      selected = { wanted: by.select(change, this.#nameOf(change)), by };
      this.#selected.set(change, selected);
    }
    return selected;
  }

  /** Of a table that leaves the stream, and has another name by now, some changes may still be on their way. */
  #nameOf({ tablet: { tableId, tableName } }: Change): string {
    const name = this.#options.nameOf(tableId);
    if (name === undefined) return this.#names.get(tableId) ?? tableName;
    if (this.#names.get(tableId) !== name) this.#names.set(tableId, name);
    return name;
  }

  /** Where a record may be one that was refused. */
  #encodeOneByOne(batch: ChangeBatch, by: Selection, fromRow: number, out: RecordBatch): number | null {
    for (let row = fromRow; row < batch.rowCount; row++) {
      if (out.isFull) return row;
      const start = out.length;
      const only = sliceRows(batch, row, row + 1);
      this.#format.encode(only, 0, out);
      const refused = this.#tooLarge.find(out, start);
      if (refused) {
        const record = out.record(start);
        const key = Buffer.from(record.key);
        out.drop(out.length - start);
        // A delete without its image is whole: nothing of it need be told elsewhere.
        if (this.#options.definition.oversize === 'key-only' || letterOf(only, 0) === 'd')
          this.#format.encode(keyOnlyRow(only, KeyOnly), 0, out);
        else out.append(deadLetter({ batch: only, record: { ...record, key }, reason: refused }));
      }
      this.#place(only, by, 0, out, start);
    }
    return null;
  }

  #place(batch: ChangeBatch, by: Selection, fromRow: number, out: RecordBatch, start: number): void {
    const { partitionBy } = this.#options.definition;
    if (partitionBy === 'key' || start === out.length) return;
    if (partitionBy === 'tablet') {
      const { tabletId } = batch.tablet;
      const from = out.addRoute(Buffer.from(tabletId, 'latin1'));
      for (let i = start; i < out.length; i++) out.placeBy(i, from, from + tabletId.length);
      return;
    }
    const route = by.routeOf(batch, this.#nameOf(batch))!;
    let row = fromRow - 1;
    let [from, to] = [0, 0];
    for (let i = start; i < out.length; i++) {
      if (!isTombstoneOfLast(out, i, start)) {
        const bytes = route(batch, ++row);
        from = out.addRoute(bytes);
        to = from + bytes.length;
      }
      out.placeBy(i, from, to);
    }
  }
}

/** A tombstone has the very key of the delete before it; one without such a delete is a row's only record. */
function isTombstoneOfLast(out: RecordBatch, i: number, start: number): boolean {
  return (
    i > start &&
    out.kindOf(i) === RecordKind.TOMBSTONE &&
    out.keyStart(i) === out.keyStart(i - 1) &&
    out.runOf(i) === out.runOf(i - 1)
  );
}
