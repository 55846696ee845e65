import * as z from 'zod';
import { parseCondition, WhereError } from './where-syntax.ts';

/** Longer ones are no filter any more; what is checked in a moment stays that. */
const MAX_WHERE_LENGTH = 4096;
const MAX_ENTRIES = 1000;

const tablePattern = z
  .string()
  .min(1, 'must not be empty')
  .refine((pattern) => !pattern.startsWith('!'), 'must name tables that it is for, without "!"');
const columnName = z.string().min(1, 'must not be empty');
const columnNames = z
  .array(columnName)
  .min(1, 'must name at least one column')
  .max(MAX_ENTRIES, `must have at most ${MAX_ENTRIES} entries`);

const CHARACTERS = 'must be a whole number of characters from 0 to 65535';

const columnRules = z
  .strictObject({
    include: columnNames.exactOptional().describe('Columns that are shipped; the key columns must be among them.'),
    exclude: columnNames.exactOptional().describe('Columns that are not shipped; no key columns.'),
    mask: z
      .record(columnName, z.string())
      .exactOptional()
      .describe('The text that stands in the place of every value of a column; a value of its type. No key columns.'),
    truncate: z
      .record(columnName, z.int(CHARACTERS).min(0, CHARACTERS).max(65_535, CHARACTERS))
      .exactOptional()
      .describe('How many characters of a STRING or VARCHAR are shipped at most. No key columns.'),
    hash: z
      .strictObject({
        columns: columnNames.describe('STRING, VARCHAR and BINARY columns; key columns too.'),
        algorithm: z
          .enum(['SHA-256', 'SHA-512'])
          .default('SHA-256')
          .describe('Of the HMAC, which is written in hexadecimal.'),
        saltFile: z
          .string()
          .regex(/^\//, 'must be the absolute path of a file')
          .describe(
            'File on every sidecar whose bytes, but for line ends at its end, are the key of the HMAC. Read again when it changes.',
          ),
      })
      .exactOptional()
      .describe('Values that are replaced by their HMAC: equal ones stay equal.'),
  })
  .refine(
    ({ include, exclude }) => include === undefined || exclude === undefined,
    'has include and exclude: one of them is enough',
  );

/** What of a table's columns is shipped, and how; see docs/streams.md. */
export type ColumnRules = Readonly<z.output<typeof columnRules>>;

const whereText = z
  .string()
  .min(1, 'must not be empty')
  .max(MAX_WHERE_LENGTH, `must have at most ${MAX_WHERE_LENGTH} characters`)
  .superRefine((text, ctx) => {
    try {
      parseCondition(text);
    } catch (error) {
      if (!(error instanceof WhereError)) throw error;
      ctx.addIssue({ code: 'custom', message: `is no condition: ${error.message}` });
    }
  });

const operation = z.enum(['c', 'u', 'd', 'r']);

/** The fields of a stream that say what of its tables it wants. */
export const selectionShape = {
  columns: z
    .record(tablePattern, columnRules)
    .exactOptional()
    .describe('By table, or pattern with *: what of its columns is shipped. All that match a table count.'),
  where: z
    .record(tablePattern, whereText)
    .exactOptional()
    .describe(
      'By table, or pattern with *: which rows are shipped, as an SQL condition. Where several match a table, all must hold.',
    ),
  skipOperations: z
    .array(operation)
    .refine((letters) => new Set(letters).size === letters.length, 'names an operation a second time')
    .refine((letters) => new Set(letters).size < 4, 'leaves no operation')
    .exactOptional()
    .describe('Operations, by the `op` of their records, that are not shipped: c, u, d, r.'),
  partitionBy: z
    .union([z.enum(['key', 'tablet']), columnNames], 'must be "key", "tablet" or a list of columns')
    .default('key')
    .describe('What decides to which partition a record goes: its key, its tablet, or these columns.'),
  unordered: z
    .boolean()
    .exactOptional()
    .describe('Changes of a row may go to different partitions: needed where partitionBy names more than key columns.'),
  oversize: z
    .enum(['block', 'dead-letter', 'key-only'])
    .default('block')
    .describe(
      'What becomes of a record that the sink finds too large: the tablet is blocked, a note of it goes to `<topic>.dead-letter`, or its key alone is shipped.',
    ),
};
/** What a stream wants of its tables. */
export interface SelectionDefinition {
  readonly columns?: Readonly<Record<string, ColumnRules>>;
  readonly where?: Readonly<Record<string, string>>;
  readonly skipOperations?: readonly ('c' | 'u' | 'd' | 'r')[];
  readonly partitionBy: 'key' | 'tablet' | readonly string[];
  readonly unordered?: boolean;
  readonly oversize: 'block' | 'dead-letter' | 'key-only';
  /** Whether an update carries the whole row before and after. */
  readonly images: string;
}
