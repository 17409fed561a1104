// Coat, sheen and emission over the base, for looks that have them. Each function mirrors the one of the same name in
// `render/preview/kernels/preview_lobes_triton.py`.

// Factors of spherical harmonics, over those of the cosine lobe: 1, 2/3, 1/4.
#define SHEEN_CONSTANT 0.28209479177387814
#define SHEEN_LINEAR (1.5 * 0.4886025119029199)
#define SHEEN_QUADRATIC (4.0 * 1.0925484305920792)
#define SHEEN_POLAR (4.0 * 0.31539156525252005)

// first_terms: albedo, normal, view, nn; last_terms: nv, vv; see `render/bsdf/sheen.py`.
vec3 evaluate_sheen(vec3 normal, vec3 view, vec4 first_terms, vec4 last_terms)
{
  vec3 aside = view - normal * dot(normal, view);
  vec3 mean = normal * first_terms.y + aside * first_terms.z;
  vec3 a = normal * first_terms.w + aside * last_terms.x;
  vec3 b = normal * last_terms.x + aside * last_terms.y;
  vec3 squares = normal * a + aside * b;
  float xy = normal.x * a.y + aside.x * b.y;
  float yz = normal.y * a.z + aside.y * b.z;
  float xz = normal.x * a.z + aside.x * b.z;
  vec3 total = frame.irradiance[0].rgb * SHEEN_CONSTANT;
  total += frame.irradiance[1].rgb * (mean.y * SHEEN_LINEAR);
  total += frame.irradiance[2].rgb * (mean.z * SHEEN_LINEAR);
  total += frame.irradiance[3].rgb * (mean.x * SHEEN_LINEAR);
  total += frame.irradiance[4].rgb * (xy * SHEEN_QUADRATIC);
  total += frame.irradiance[5].rgb * (yz * SHEEN_QUADRATIC);
  total += frame.irradiance[6].rgb * ((2.0 * squares.z - squares.x - squares.y) * SHEEN_POLAR);
  total += frame.irradiance[7].rgb * (xz * SHEEN_QUADRATIC);
  total += frame.irradiance[8].rgb * ((squares.x - squares.y) * (0.5 * SHEEN_QUADRATIC));
  return max(total, vec3(0.0));
}

// coat: weight, roughness; sheen: color, roughness.
vec3 with_lobes(vec3 base, vec2 coat, vec4 sheen, vec3 emission, float openness, vec3 normal, vec3 coat_normal, vec3 view)
{
  vec4 first_terms;
  vec4 last_terms;
  vec3 sheen_normal = safe_normalize(mix(normal, coat_normal, coat.x));
  table_lookup(sheen_table, sheen.w, max(dot(sheen_normal, view), 1e-3), first_terms, last_terms);
  vec3 color = sheen.rgb * first_terms.x;
  vec3 radiance = color * evaluate_sheen(sheen_normal, view, first_terms, last_terms);
  float below = max(1.0 - max(max(color.r, color.g), color.b), 0.0);

  float seen = max(dot(coat_normal, view), 1e-3);
  table_lookup(ggx_table, coat.y, seen, first_terms, last_terms);
  vec3 reflected = coat_normal * (2.0 * seen) - view;
  vec3 direction = coat_normal + last_terms.z * (reflected - coat_normal);
  float reflectance = coat.x * first_terms.z;
  radiance += (below * reflectance) * sample_atlas(direction, roughness_to_level(last_terms.w));
  below *= 1.0 - reflectance;
  return radiance * openness + (base + emission) * below;
}

