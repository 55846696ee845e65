import { fromBinary } from '@bufbuild/protobuf';
import { compileRowLayout, type RowLayout } from '../change/row-layout.ts';
import { SchemaPBSchema } from '../kudu/proto/common_pb.ts';
import { schemaFromPb } from '../kudu/schema-codec.ts';
import type { TableSchema } from '../kudu/schema.ts';

export interface SchemaVersion {
  readonly version: number;
  readonly schema: TableSchema;
}

/** Clients of a table send one of few schemas, each always in the same bytes. */
const MAX_LAYOUTS = 32;

/**
 * The schema of a tablet in force at the operation that is being read, and how the writes under it are laid out.
 *
 * It begins with the header of the first segment, which may be older than an ALTER just before it but is never newer
 * than the segment's operations, and goes on with every ALTER that succeeded; headers of later segments say nothing
 * more (kudu-facts 5.3).
 */
export class SchemaHistory {
  #current: SchemaVersion;
  /** Layouts of writes under the current schema, by the bytes of the request's own schema; the last used first. */
  #layouts: { readonly request: Buffer; readonly layout: RowLayout }[] = [];

  constructor(seed: SchemaVersion) {
    this.#current = seed;
  }

  get current(): SchemaVersion {
    return this.#current;
  }

  /** Takes a newer version into force; one that does not rise changes nothing (a master's retry), and answers false. */
  advance(next: SchemaVersion): boolean {
    if (next.version <= this.#current.version) return false;
    this.#current = next;
    this.#layouts = [];
    return true;
  }

  /**
   * The layout of a write, by the SchemaPB bytes in its request.
   * @throws {RowFormatError} the two schemas do not fit; an error of @bufbuild/protobuf or a {@link RangeError} when
   *   the bytes are not a schema that we know
   */
  layoutOf(requestSchema: Buffer): RowLayout {
    const place = this.#layouts.findIndex((known) => known.request.equals(requestSchema));
    const known = this.#layouts[place];
    if (known) {
      if (place > 0) this.#layouts.unshift(...this.#layouts.splice(place, 1));
      return known.layout;
    }
    const layout = compileRowLayout(schemaFromPb(fromBinary(SchemaPBSchema, requestSchema)), this.#current.schema);
    // A copy: the request's bytes are a view of a whole chunk of the log.
    this.#layouts.unshift({ request: Buffer.from(requestSchema), layout });
    if (this.#layouts.length > MAX_LAYOUTS) this.#layouts.pop();
    return layout;
  }
}
