// Follows events of the gateway, and resumes after a break. Runs in a browser, in Deno, and in Node.js from version 22.
//
//   node examples/subscribe.js ws://127.0.0.1:8080/ws events:tvl events:token:bitcoin

const [url = 'ws://127.0.0.1:8080/ws', ...channels] = globalThis.process?.argv.slice(2) ?? [];
let since; // the position of the last event that was seen

function connect() {
  const socket = new WebSocket(url);
  let pause = 1000 + Math.random() * 4000; // clients that come back must not all come at once
  socket.onopen = () =>
    socket.send(JSON.stringify({ action: 'subscribe', channels: channels.length ? channels : ['events:*'], since }));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    // Only events and snapshots have arrived: the position of another message is ahead of what was delivered.
    if (message.eventType || message.type === 'snapshot') since = message.position;
    if (message.eventType) show(message);
    else if (message.type === 'snapshot') message.events.forEach(show);
    else if (message.type === 'goodbye') pause = message.retryAfter;
    else if (['gap', 'dropped', 'error'].includes(message.type)) console.warn(message);
  };
  socket.onclose = () => setTimeout(connect, pause);
}

function show({ eventType, data }) {
  const name = data.protocolName ?? data.symbol ?? data.protocolId ?? data.tokenId;
  const change = data.changePercent === undefined ? data.updateType : `${data.changePercent.toFixed(2)} %`;
  console.log(eventType, name, data.chain ?? '', change);
}

connect();
