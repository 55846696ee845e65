import { positionJson, positionToJson, type SinkPosition } from '../change/position.ts';

/** A position as it is stored in Spoor's own tables: one JSON text. */
export function formatPosition(position: SinkPosition): string {
  return JSON.stringify(positionToJson(position));
}

/** Reads what {@link formatPosition} wrote. @throws {z.ZodError | SyntaxError} on anything else */
export function parsePosition(text: string): SinkPosition {
  return positionJson.parse(JSON.parse(text));
}
