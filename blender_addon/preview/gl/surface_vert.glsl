// Positions are relative to the eye, so that float32 is enough even for a scene far from the origin.

vec3 unit_or_zero(vec3 vector)
{
  return vector / max(length(vector), 1e-12);
}

void main()
{
  gl_Position = part.clip * vec4(position, 1.0);
  seen_position = (part.place * vec4(position, 1.0)).xyz;
  seen_normal = unit_or_zero((part.turn * vec4(normal, 0.0)).xyz);
  seen_tangent = vec4(unit_or_zero((part.turn * vec4(tangent.xyz, 0.0)).xyz), tangent.w);
  seen_uv = uv;
}
