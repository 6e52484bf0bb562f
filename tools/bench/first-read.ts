/** How long a service that is being started keeps a client waiting which tries again and again: until a read is answered, not until it says that it is ready. */
import { setTimeout as delay } from 'node:timers/promises';
import { NbdClient } from '../../src/cli/nbd-client.ts';

const againMs = 5;
const patienceMs = 120_000;

/** @throws Error what the last attempt met, when the patience is over */
export async function readFirst(socket: string, exportName: string, offset: number): Promise<void> {
  for (const end = Date.now() + patienceMs; ; await delay(againMs)) {
    try {
      const client = await NbdClient.connect(socket, exportName);
      await client.read(offset, 4096);
      client.close();
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
    }
  }
}
