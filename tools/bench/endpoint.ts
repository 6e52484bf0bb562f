/** Endpoints: where a peer listens, as its flags, its clients' URIs and a test whether it does already. */
import { existsSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Setting } from './settings.ts';

export type Endpoint =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly port: number };

/** A new one. @param folder an existing one, without a socket */
export async function endpointIn(
  folder: string,
  transport: Setting['transport'],
): Promise<Endpoint> {
  if (transport === 'tcp') return { kind: 'tcp', port: await freePort() };
  return { kind: 'unix', path: join(folder, 'nbd.sock') };
}

export function uriOf(endpoint: Endpoint, exportName: string): string {
  return endpoint.kind === 'tcp'
    ? `nbd://127.0.0.1:${endpoint.port}/${exportName}`
    : `nbd+unix:///${exportName}?socket=${endpoint.path}`;
}

export function isListening(endpoint: Endpoint): Promise<boolean> {
  return endpoint.kind === 'tcp'
    ? answers(endpoint.port)
    : Promise.resolve(existsSync(endpoint.path));
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe: Socket = connect(port, '127.0.0.1');
    const end = (answer: boolean) => () => {
      probe.destroy();
      resolve(answer);
    };
    probe.once('connect', end(true)).once('error', end(false));
  });
}
