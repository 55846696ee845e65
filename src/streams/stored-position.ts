import { positionJson, positionToJson, type TabletPosition } from '../change/position.ts';

/** A position as it is stored in Spoor's own tables: one JSON text. */
export function formatPosition(position: TabletPosition): string {
  return JSON.stringify(positionToJson(position));
}

/** Reads what {@link formatPosition} wrote. @throws {z.ZodError | SyntaxError} on anything else */
export function parsePosition(text: string): TabletPosition {
  return positionJson.parse(JSON.parse(text));
}
