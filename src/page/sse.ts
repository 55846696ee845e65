export interface ServerEvent {
  readonly event: string;
  readonly data: string;
}

/** Takes server-sent events out of text as it comes, in pieces of any length. */
export class EventParser {
  #rest = '';

  /** @returns the events that are whole by now; comments, which only say that somebody is there, are none */
  push(text: string): ServerEvent[] {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop()!;
    return blocks.flatMap((block) => {
      let event = 'message';
      const data: string[] = [];
      for (const line of block.split('\n'))
        if (line.startsWith('event: ')) event = line.slice(7);
        else if (line.startsWith('data: ')) data.push(line.slice(6));
      return data.length > 0 ? [{ event, data: data.join('\n') }] : [];
    });
  }
}
