// What @grpc/grpc-js shows of both services, one JSON object a line: node ask.js HOST:PORT PROTOS SECONDS.
//
// It finds its packages beside itself: it is copied to where they are installed.
'use strict';

const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [address, protos, seconds] = process.argv.slice(2);
const options = { longs: String, enums: String, defaults: false, oneofs: true, includeDirs: [protos], keepCase: true };
const loaded = (name) => grpc.loadPackageDefinition(loader.loadSync(`leadline/serve/proto/${name}.proto`, options));
const credentials = grpc.credentials.createInsecure();
const provider = new (loaded('provider').provider.v1.Provider)(address, credentials);
const data = new (loaded('market_data').leadline.v1.MarketData)(address, credentials);

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const json = (field) => JSON.parse(field.value.toString());
const payload = (value) => ({ value: Buffer.from(JSON.stringify(value)) });

// The call's message, or its failure with what travels beside it.
function asked(client, method, request) {
  return new Promise((resolve) => {
    client[method](request, { deadline: Date.now() + 20000 }, (error, message) => {
      if (!error) return resolve({ code: 'OK', message });
      const beside = error.metadata.get('leadline-error-bin').map((bytes) => JSON.parse(bytes.toString()));
      const echoed = error.metadata.get('correlation-id');
      return resolve({ code: grpc.status[error.code], details: error.details, beside, echoed });
    });
  });
}

// Until the time is over; how it ended otherwise.
function streamed(client, method, request, take) {
  return new Promise((resolve) => {
    const call = client[method](request);
    const timer = setTimeout(() => call.cancel(), seconds * 1000);
    call.on('data', take);
    call.on('error', (error) => {
      clearTimeout(timer);
      resolve(grpc.status[error.code]);
    });
    call.on('end', () => {
      clearTimeout(timer);
      resolve('END');
    });
  });
}

// A book from a snapshot and what changed since, by the rules in market_data.proto.
class Book {
  take(event) {
    if (event.body === 'snapshot') {
      this.bids = new Map();
      this.asks = new Map();
    }
    const change = event[event.body];
    for (const side of ['bids', 'asks']) {
      const { price_e8: prices = [], quantity_e8: quantities = [] } = change[side] || {};
      prices.forEach((price, place) => {
        if (quantities[place] !== '0') this[side].set(price, quantities[place]);
        else if (!this[side].delete(price)) tell({ complaint: `${event.symbol} ${event.seq}: ${price} was not there` });
      });
    }
  }

  shown(side) {
    return { price_e8: [...this[side].keys()], quantity_e8: [...this[side].values()] };
  }
}

async function main() {
  const capabilities = await asked(provider, 'ListCapabilities', {});
  tell({ names: (capabilities.message?.tools || []).map((tool) => tool.name) });
  for (const tool_name of ['orderbook_l1', 'get_order_flow']) {
    const request = { tool_name, payload: payload({ symbol: 'BTCUSDT' }), correlation_id: 'doors-1' };
    const answered = await asked(provider, 'Invoke', request);
    tell({ tool: tool_name, code: answered.code, answer: answered.message ? json(answered.message.result) : answered });
  }
  const wrong = { tool_name: 'get_order_flow', payload: payload({ symbol: 'NOPE' }), correlation_id: 'doors-2' };
  tell({ failure: await asked(provider, 'Invoke', wrong) });

  const books = new Map();
  const ended = await Promise.all([
    streamed(provider, 'Stream', { topic: 'book.BTCUSDT' }, (event) => tell({ event: { ...event, data: json(event.data) } })),
    streamed(data, 'StreamBook', { symbols: ['BTCUSDT', 'ETHUSDT'], depth: 100 }, (event) => {
      const { symbol, seq, prev_seq: prevSeq = '0', update_id: updateId, body, state } = event;
      if (body === 'snapshot') books.set(symbol, new Book());
      const book = books.get(symbol);
      if (book && (body === 'snapshot' || body === 'diff')) book.take(event);
      const shown = book && { bids: book.shown('bids'), asks: book.shown('asks') };
      tell({ symbol, seq, prev_seq: prevSeq, update_id: updateId, body, state, ...shown });
    }),
  ]);
  tell({ ended });
  provider.close();
  data.close();
}

main();
