import * as z from 'zod';
import { formatOpId, parseOpId } from '../kudu/opid.ts';
import type { SinkPosition } from '../sinks/sink.ts';

/** A position as it is stored: JSON `{"opId":"7.1042","table":"shop.orders","schemaVersion":3}`. */
const storedPosition = z.object({
  opId: z.string().transform((text, ctx) => {
    try {
      return parseOpId(text);
    } catch (error) {
      ctx.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) });
      return z.NEVER;
    }
  }),
  table: z.string(),
  schemaVersion: z.int().nonnegative(),
});

export function formatPosition(position: SinkPosition): string {
  const { opId, tableName, schemaVersion } = position;
  return JSON.stringify({ opId: formatOpId(opId), table: tableName, schemaVersion });
}

/** Reads what {@link formatPosition} wrote. @throws {z.ZodError | SyntaxError} on anything else */
export function parsePosition(text: string): SinkPosition {
  const { opId, table, schemaVersion } = storedPosition.parse(JSON.parse(text));
  return { opId, tableName: table, schemaVersion };
}
