import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { it } from 'node:test';
import { RegistryClient } from '../../../../src/formats/registry/registry-client.ts';

it('shows nothing of a secret that a registry says, not where its words are cut short either', async () => {
  const token = 'a-secret-that-nobody-may-see';
  for (const before of [0, 1900, 1980, 1990, 1999]) {
    const message = `${'x'.repeat(before)}${token} is not allowed`;
    const server = createServer((_, response) => response.writeHead(401).end(JSON.stringify({ message })));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    using client = new RegistryClient({ urls: [`http://127.0.0.1:${port}`], auth: () => ({ token }) });
    const schema = { schemaType: 'AVRO', text: '"int"' } as const;
    const answered = assert.rejects(client.lookUp('s', schema, AbortSignal.timeout(5000)), (error: Error) => {
      assert.doesNotMatch(error.message, /a-/, `behind ${before}`);
      return true;
    });
    await answered.finally(() => {
      server.closeAllConnections();
      server.close();
    });
  }
});
