/** Runs code inside a Node process that was started with --inspect, through its own debugging port. */
import { WebSocket } from 'undici';

/** The inspector's address, as the process announces it in its log. */
export function inspectorAddress(log: string): string {
  const match = /ws:\/\/\S+/.exec(log);
  if (match === null) throw new Error(`no inspector in this log:\n${log}`);
  return match[0];
}

/** Evaluates an expression in the process; fulfils when the evaluation has ended. */
export async function evaluate(address: string, expression: string): Promise<unknown> {
  const socket = new WebSocket(address);
  try {
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve, { once: true });
      socket.addEventListener('error', reject, { once: true });
    });
    const answer = new Promise<{ data: string }>((resolve) => {
      socket.addEventListener('message', resolve, { once: true });
    });
    socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } }));
    return JSON.parse((await answer).data).result.result.value;
  } finally {
    socket.close();
  }
}
