import * as z from 'zod';
import type { AvroCursor } from '../../../util/avro-cursor.ts';

/** Steps over a value. @throws {SyntaxError} there is no such value */
export type Skip = (cursor: AvroCursor) => void;

const named = z.looseObject({
  type: z.string(),
  name: z.string().optional(),
  fields: z.array(z.looseObject({ type: z.unknown() })).optional(),
});

/** How to step over values of a schema of ours. @throws {SyntaxError} it has a type that none of ours has */
export function compileSkip(schema: unknown, known = new Map<string, Skip>()): Skip {
  if (Array.isArray(schema)) return skipUnion(schema.map((branch) => compileSkip(branch, known)));
  if (typeof schema === 'string') return known.get(schema) ?? skipPrimitive(schema);
  const parsed = named.safeParse(schema);
  if (!parsed.success) throw new SyntaxError('a part of its schema is none');
  const { type, name, fields } = parsed.data;
  if (type !== 'record') return skipPrimitive(type);
  const skips = (fields ?? []).map((field) => compileSkip(field.type, known));
  const skip: Skip = (cursor) => {
    for (const each of skips) each(cursor);
  };
  if (name !== undefined) known.set(name, skip);
  return skip;
}

function skipUnion(branches: readonly Skip[]): Skip {
  return (cursor) => {
    const branch = branches[cursor.number()];
    if (!branch) throw new SyntaxError('a branch that its schema has not');
    branch(cursor);
  };
}

function skipPrimitive(type: string): Skip {
  switch (type) {
    case 'null':
      return () => undefined;
    case 'boolean':
      return skipBytes(1);
    case 'int':
    case 'long':
      return (cursor) => {
        cursor.skipNumber();
      };
    case 'float':
      return skipBytes(4);
    case 'double':
      return skipBytes(8);
    case 'bytes':
    case 'string':
      return (cursor) => {
        cursor.skipRun();
      };
    default:
      throw new SyntaxError(`its schema has a type ${JSON.stringify(type)} that none of ours has`);
  }
}

function skipBytes(count: number): Skip {
  return (cursor) => {
    cursor.skip(count);
  };
}
