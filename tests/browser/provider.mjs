// A certified provider of OpenID Connect, as others run it: it signs in whoever gives a name. It
// prints its URL, and reads where its client wants browsers back from the first line that it is given.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const file = `${process.env.NODE_PACKAGES}/node_modules/oidc-provider/lib/index.js`;
const { Provider } = await import(pathToFileURL(file));
const server = createServer();
server.listen(0, "127.0.0.1", () => {
  // Another site than the server's, for browsers.
  const issuer = `http://localhost:${server.address().port}`;
  console.log(issuer);
  createInterface({ input: process.stdin }).once("line", (redirect) => {
    const provider = new Provider(issuer, {
      clients: [{ client_id: "files", client_secret: "s%cret:+", redirect_uris: [redirect] }],
      cookies: { keys: ["key"] },
      features: { devInteractions: { enabled: true } },
      pkce: { required: () => true },
    });
    server.on("request", provider.callback());
    console.log("ready");
  });
});
