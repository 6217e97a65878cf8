"use strict";
const scene = JSON.parse(document.getElementById("scene").textContent);
const canvas = document.getElementById("view");
const gl = canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true });
if (!gl) document.getElementById("title").textContent = "This page needs WebGL 2.";

const vertexSource = `#version 300 es
in vec2 corner; out vec2 at;
void main() { at = corner; gl_Position = vec4(corner, 0.0, 1.0); }`;

// A ray per pixel, its longitude and latitude, and from there the place in the picture.
const fragmentSource = `#version 300 es
precision highp float;
in vec2 at; out vec4 colour;
uniform sampler2D picture, fills, lines;
uniform vec2 plane; uniform float yaw, pitch, fill; uniform bool outlines; uniform vec4 area;
const float PI = 3.14159265358979;
void main() {
  vec3 ray = vec3(1.0, at.x * plane.x, at.y * plane.y);
  float c = cos(pitch), s = sin(pitch);
  vec3 d = vec3(c * ray.x - s * ray.z, ray.y, s * ray.x + c * ray.z);
  float lon = atan(d.y, d.x) + yaw, lat = atan(d.z, length(d.xy));
  vec2 whole = vec2(fract(lon / (2.0 * PI) + 0.5), 0.5 - lat / PI);
  vec2 uv = (whole - area.xy) / area.zw;
  if (any(lessThan(uv, vec2(0.0))) || any(greaterThan(uv, vec2(1.0)))) { colour = vec4(0.06, 0.06, 0.06, 1.0); return; }
  vec3 seen = texture(picture, uv).rgb;
  vec4 paint = texture(fills, uv), edge = texture(lines, uv);
  seen = mix(seen, paint.rgb, paint.a * fill);
  if (outlines) seen = mix(seen, edge.rgb, edge.a);
  colour = vec4(seen, 1.0);
}`;

function compile(kind, source) {
  const shader = gl.createShader(kind);
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
  return shader;
}

const program = gl.createProgram();
gl.attachShader(program, compile(gl.VERTEX_SHADER, vertexSource));
gl.attachShader(program, compile(gl.FRAGMENT_SHADER, fragmentSource));
gl.linkProgram(program);
gl.useProgram(program);
gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 3, -1, -1, 3]), gl.STATIC_DRAW);
gl.enableVertexAttribArray(gl.getAttribLocation(program, "corner"));
gl.vertexAttribPointer(gl.getAttribLocation(program, "corner"), 2, gl.FLOAT, false, 0, 0);
const uniform = (name) => gl.getUniformLocation(program, name);
["picture", "fills", "lines"].forEach((name, unit) => gl.uniform1i(uniform(name), unit));
gl.uniform4fv(uniform("area"), scene.area);

function upload(unit, source) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  // Without mip levels: at the seam neighbouring pixels lie at opposite ends of the picture.
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, scene.area[2] === 1 ? gl.REPEAT : gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, source);
}

const paths = scene.objects.map((object) => {
  const path = new Path2D();
  for (const ring of object.rings) {
    for (let k = 0; k < ring.length; k += 2) k ? path.lineTo(ring[k], ring[k + 1]) : path.moveTo(ring[0], ring[1]);
    path.closePath();
  }
  return path;
});

function layer(draw) {
  const surface = new OffscreenCanvas(scene.width, scene.height), context = surface.getContext("2d");
  draw(context);
  return surface;
}

const picker = layer(() => {}).getContext("2d");
let chosen = -1;

function drawLines() {
  upload(2, layer((context) => {
    context.lineWidth = Math.max(1, scene.width / 3000);
    context.strokeStyle = "#fff";
    paths.forEach((path) => context.stroke(path));
    if (chosen >= 0) {
      context.lineWidth *= 3;
      context.strokeStyle = "#ffd400";
      context.stroke(paths[chosen]);
    }
    // The picture's own frame is no outline: objects go on beyond the seam and the poles.
    const w = context.lineWidth;
    context.clearRect(0, 0, w, scene.height);
    context.clearRect(scene.width - w, 0, w, scene.height);
    context.clearRect(0, 0, scene.width, w);
    context.clearRect(0, scene.height - w, scene.width, w);
  }));
}

const look = { yaw: scene.look[0], pitch: scene.look[1], fov: 90 };
const radians = Math.PI / 180;
let pending = false;

function plane() {
  const across = Math.tan((look.fov / 2) * radians);
  return [across, (across * canvas.height) / canvas.width];
}

function render() {
  pending = false;
  const scale = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  gl.viewport(0, 0, canvas.width, canvas.height);
  gl.uniform2fv(uniform("plane"), plane());
  gl.uniform1f(uniform("yaw"), look.yaw * radians);
  gl.uniform1f(uniform("pitch"), look.pitch * radians);
  gl.uniform1f(uniform("fill"), document.getElementById("fill").value / 100);
  gl.uniform1i(uniform("outlines"), document.getElementById("lines").checked ? 1 : 0);
  gl.drawArrays(gl.TRIANGLES, 0, 3);
  document.getElementById("where").textContent =
    `${look.yaw.toFixed(0)}° ${look.pitch.toFixed(0)}°`;
}

function refresh() {
  if (!pending) { pending = true; requestAnimationFrame(render); }
}

function turn(yaw, pitch) {
  look.yaw = ((look.yaw + yaw + 540) % 360) - 180;
  look.pitch = Math.max(-90, Math.min(90, look.pitch + pitch));
  refresh();
}

function pixelAt(x, y) {
  const [across, up] = plane();
  const px = ((2 * x) / canvas.clientWidth - 1) * across, py = (1 - (2 * y) / canvas.clientHeight) * up;
  const c = Math.cos(look.pitch * radians), s = Math.sin(look.pitch * radians);
  const d = [c - s * py, px, s + c * py];
  const lon = Math.atan2(d[1], d[0]) + look.yaw * radians, lat = Math.atan2(d[2], Math.hypot(d[0], d[1]));
  const u = (((lon / (2 * Math.PI) + 0.5) % 1) + 1) % 1, v = 0.5 - lat / Math.PI;
  return [((u - scene.area[0]) / scene.area[2]) * scene.width, ((v - scene.area[1]) / scene.area[3]) * scene.height];
}

function choose(x, y) {
  const [px, py] = pixelAt(x, y);
  chosen = paths.findIndex((path) => picker.isPointInPath(path, px, py, "evenodd"));
  const details = document.getElementById("details");
  details.hidden = chosen < 0;
  details.replaceChildren();
  if (chosen >= 0) {
    const table = details.appendChild(document.createElement("table"));
    for (const [name, value] of Object.entries(scene.objects[chosen].attributes)) {
      const row = table.insertRow();
      row.insertCell().textContent = name;
      row.insertCell().textContent = typeof value === "number" ? +value.toPrecision(5) : String(value);
    }
  }
  drawLines();
  refresh();
}

let last = null, moved = 0;
canvas.addEventListener("pointerdown", (event) => {
  last = [event.clientX, event.clientY];
  moved = 0;
  canvas.setPointerCapture(event.pointerId);
  canvas.classList.add("dragging");
});
canvas.addEventListener("pointermove", (event) => {
  if (!last) return;
  const dx = event.clientX - last[0], dy = event.clientY - last[1];
  moved += Math.abs(dx) + Math.abs(dy);
  last = [event.clientX, event.clientY];
  turn((-dx * look.fov) / canvas.clientWidth, (dy * look.fov) / canvas.clientWidth);
});
canvas.addEventListener("pointerup", (event) => {
  if (last && moved < 4) choose(event.clientX, event.clientY);
  last = null;
  canvas.classList.remove("dragging");
});
canvas.addEventListener("wheel", (event) => {
  look.fov = Math.max(15, Math.min(120, look.fov * Math.exp(event.deltaY / 800)));
  event.preventDefault();
  refresh();
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-5, 0], ArrowRight: [5, 0], ArrowUp: [0, 5], ArrowDown: [0, -5] }[event.key];
  if (!step) return;
  event.preventDefault();
  turn(...step);
});
document.getElementById("fill").addEventListener("input", refresh);
document.getElementById("lines").addEventListener("change", refresh);
window.addEventListener("resize", refresh);

const image = new Image();
image.onload = () => {
  upload(0, image);
  upload(1, layer((context) => paths.forEach((path, k) => {
    context.fillStyle = scene.objects[k].colour;
    context.fill(path, "evenodd");
  })));
  drawLines();
  refresh();
  document.body.dataset.ready = "true";
};
image.src = scene.picture;
